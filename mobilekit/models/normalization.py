"""Normalization inside a model, which then takes pictures as they are: values of 0 to 255, also larger ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from mobilekit.errors import UsageError
from mobilekit.models.frame import BYTES, PASSES, Frame
from mobilekit.models.inputs import Tensors, parameters_of
from mobilekit.store.bundle import INPUT

NORMALIZATION = "input_normalization"
"""Path of what normalizes, in a graph of the model."""
OF_PICTURES = (*PASSES, NORMALIZATION)
"""Paths of all that is put before a model."""
_WEIGHT, _BIAS = f"{NORMALIZATION}_weight", f"{NORMALIZATION}_bias"
_AT_ONCE = 8
"""Frames that are scaled at a time."""


class Pixels(NamedTuple):
    """Inputs that are pictures of 0 to 255, and what a model makes of them itself."""

    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    """For each channel, of values in 0..1."""
    std: tuple[float, ...] = ()
    frame: Frame | None = None
    """Crops and scales them; without, they have the network's size."""

    def constants(self) -> Tensors:
        """Return what `normalize` multiplies and adds, float64, by its name.

        `(value / 255 - mean) / std` is one depthwise convolution: in int8 that rounds once, with scales for each
        channel, where a product and a difference round twice, with scales that the channels share.
        """
        centers, widths = (torch.tensor(values, dtype=torch.float64) for values in (self.mean, self.std))
        white = self.frame.white if self.frame else BYTES
        scaling = self.frame.constants(len(self.mean)) if self.frame else {}
        return {**scaling, _WEIGHT: (1 / (white * widths)).reshape(-1, 1, 1, 1), _BIAS: -centers / widths}

    def normalize(self, pictures: torch.Tensor, constants: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return pictures (N, C, H, W) as the network takes them, by the constants in their dtype."""
        scaled = self.frame.scale(pictures, constants) if self.frame else pictures
        return functional.conv2d(scaled, constants[_WEIGHT], constants[_BIAS], groups=len(self.mean))

    def of(self, normalized: torch.Tensor) -> torch.Tensor:
        """Return pictures of which normalization makes about these values, float64; they are not whole numbers."""
        mean, std = (torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1) for values in (self.mean, self.std))
        levels = BYTES * (normalized * std + mean)
        return self.frame.enlarge(levels) if self.frame else levels


def normalize_inside(model: nn.Module, pixels: Pixels) -> nn.Module:
    """Let a model take pictures of 0 to 255, and return it.

    Its modules, with their paths and their state, stay as they are: what normalizes are buffers that are not saved.

    Args:
        model: Takes normalized pictures; it is changed.
        pixels: Which inputs are pictures; where there are none, the model stays as it is.

    Raises:
        UsageError: The model has something of the name of a buffer.
    """
    if not pixels.names:
        return model
    constants = pixels.constants()
    if taken := next((name for name in (NORMALIZATION, *constants) if hasattr(model, name)), None):
        what = "input: {frame: ...}" if pixels.frame else "dtype: uint8"
        raise UsageError(
            f"The model has {taken}, which is the name of what `{what}` puts before it.",
            "Leave --input-dtype and --input-from out, or give that part of the model another name.",
        )
    for name, tensor in constants.items():
        model.register_buffer(name, tensor.float(), persistent=False)
    first = parameters_of(model)[0].name
    named = {first if name == INPUT else name for name in pixels.names}

    def before(_model: nn.Module, given: tuple[Any, ...], further: dict[str, Any]) -> tuple[Any, ...]:
        own = {name: _model.get_buffer(name) for name in constants}  # a copy of the model has its own
        seen = {name: pixels.normalize(value, own) if name in named else value for name, value in further.items()}
        return ((pixels.normalize(given[0], own), *given[1:]) if given else given), seen

    model.register_forward_pre_hook(before, with_kwargs=True)
    return model


def normalized(inputs: Tensors, pixels: Pixels) -> Tensors:
    """Return inputs as the model behind the normalization has them: float32 (N, ...) by name."""
    if not pixels.names:
        return inputs
    constants = {name: tensor.float() for name, tensor in pixels.constants().items()}

    def whole(pictures: torch.Tensor) -> torch.Tensor:
        return torch.cat([pixels.normalize(few, constants) for few in torch.split(pictures, _AT_ONCE)])

    return {name: whole(tensor) if name in pixels.names else tensor for name, tensor in inputs.items()}
