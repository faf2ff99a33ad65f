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
"""Path of what normalizes, in a graph of the model."""
_WEIGHT, _BIAS = f"{NORMALIZATION}_weight", f"{NORMALIZATION}_bias"


def _constants(mean: Sequence[float], std: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (C, 1, 1, 1) and bias (C) of what makes `(value / 255 - mean) / std` of 0 to 255.

    It is one depthwise convolution: in int8 that rounds once, with scales for each channel, where a product and a
    difference round twice, with scales that the channels share.
    """
    centers, widths = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
    return (1 / (255 * widths)).float().reshape(-1, 1, 1, 1), (-centers / widths).float()


def _normalize(pixels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(pixels, weight, bias, groups=len(bias))


def normalize_inside(
    model: nn.Module, pixels: Collection[str], mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """Let a model take pictures of 0 to 255, and return it.

    Its modules, with their paths and their state, stay as they are: what normalizes are two buffers that are not saved.

    Args:
        model: Takes normalized pictures; it is changed.
        pixels: Names of the inputs that are pictures; where there are none, the model stays as it is.
        mean: For each channel, of values in 0..1.
        std: Likewise.

    Raises:
        UsageError: The model has something of that name.
    """
    if not pixels:
        return model
    if any(hasattr(model, name) for name in (NORMALIZATION, _WEIGHT, _BIAS)):
        raise UsageError(
            f"The model has {NORMALIZATION}, which is the name of what `dtype: uint8` puts before it.",
            "Leave --input-dtype out, or give that part of the model another name.",
        )
    for key, tensor in zip((_WEIGHT, _BIAS), _constants(mean, std), strict=True):
        model.register_buffer(key, tensor, persistent=False)
    first = parameters_of(model)[0].name
    named = {first if name == INPUT else name for name in pixels}

    def before(_model: nn.Module, given: tuple[Any, ...], further: dict[str, Any]) -> tuple[Any, ...]:
        constants = _model.get_buffer(_WEIGHT), _model.get_buffer(_BIAS)  # a copy of the model has its own
        seen = {name: _normalize(value, *constants) if name in named else value for name, value in further.items()}
        return ((_normalize(given[0], *constants), *given[1:]) if given else given), seen

    model.register_forward_pre_hook(before, with_kwargs=True)
    return model


def normalized(inputs: Tensors, pixels: Collection[str], mean: Sequence[float], std: Sequence[float]) -> Tensors:
    """Return inputs as the model behind the normalization has them: float32 (N, ...) by name."""
    constants = _constants(mean, std)
    return {name: _normalize(tensor, *constants) if name in pixels else tensor for name, tensor in inputs.items()}
