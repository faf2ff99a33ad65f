"""Normalization inside a model, which then takes pictures as they are: values of 0 to 255."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mobilekit.errors import UsageError
from mobilekit.models.inputs import Tensors, parameters_of
from mobilekit.store.bundle import INPUT

NORMALIZATION = "input_normalization"
"""Path of the module that normalizes."""


class Normalization(nn.Module):
    """Turns values of 0 to 255 into `(value / 255 - mean) / std`, by one depthwise convolution.

    In int8 that rounds once, with scales for each channel; a product and a difference round twice, with scales that
    the channels share.

    Args:
        mean: For each channel, of values in 0..1.
        std: Likewise.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        centers, widths = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
        scale = 1 / (255 * widths)
        # They come from the recipe: the model's own state stays as it is.
        self.register_buffer("weight", scale.float().reshape(-1, 1, 1, 1), persistent=False)
        self.register_buffer("bias", (-centers / widths).float(), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalize float32 (N, C, H, W)."""
        return functional.conv2d(pixels, self.weight, self.bias, groups=len(self.bias))


def normalize_inside(
    model: nn.Module, pixels: Collection[str], mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """Let a model take pictures of 0 to 255, and return it.

    Its normalization becomes a module of its own; paths and state of all others stay.

    Args:
        model: Takes normalized pictures; it is changed.
        pixels: Names of the inputs that are pictures; where there are none, the model stays as it is.
        mean: For each channel, of values in 0..1.
        std: Likewise.

    Raises:
        UsageError: The model has a module of that name.
    """
    if not pixels:
        return model
    if hasattr(model, NORMALIZATION):
        raise UsageError(
            f"The model has {NORMALIZATION}, which is the name of what `dtype: uint8` puts before it.",
            "Leave --input-dtype out, or give that part of the model another name.",
        )
    model.add_module(NORMALIZATION, Normalization(mean, std))
    first = parameters_of(model)[0].name
    named = {first if name == INPUT else name for name in pixels}

    def before(_model: nn.Module, given: tuple[Any, ...], further: dict[str, Any]) -> tuple[Any, ...]:
        normalize = _model.get_submodule(NORMALIZATION)  # a copy of the model has its own
        seen = {name: normalize(value) if name in named else value for name, value in further.items()}
        return ((normalize(given[0]), *given[1:]) if given else given), seen

    model.register_forward_pre_hook(before, with_kwargs=True)
    return model


def normalized(inputs: Tensors, pixels: Collection[str], mean: Sequence[float], std: Sequence[float]) -> Tensors:
    """Return inputs as the model behind the normalization has them: float32 (N, ...) by name."""
    normalize = Normalization(mean, std)
    return {name: normalize(tensor) if name in pixels else tensor for name, tensor in inputs.items()}
