"""Crop and antialiased resize of a picture inside a model, in operators that every target's compiler takes.

Scaling is linear: each row and each column of the result is a mean of few of the frame's, as Pillow's `resize` weighs
them (its `Resample.c`: a filter that is widened by the factor, and divided by its sum where the frame ends). At a
factor p/q the weights repeat after q results and p pixels. So a pass over columns, or rows, is one depthwise
convolution of stride p with q results for each channel, times a constant map where the border cuts the filter; what
the q x q results of a place are is brought to space at the end. Dense matrices cost more than many a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Float64 = NDArray[np.float64]
BYTES = 255
_SIX = 6
"""What 255 becomes where values are cut: by ReLU6, which runtimes compute within a convolution."""


class Axis(NamedTuple):
    """Columns or rows of a frame, and which part of them becomes how many."""

    length: int
    """How many the frame has."""
    size: int
    """How many are made."""
    start: Fraction
    """Where the part begins, in pixels of the frame."""
    step: Fraction
    """How many pixels become one: 1 or more."""

    def __repr__(self) -> str:
        """Return the expression that makes it, from anywhere."""
        start, step = (f"{__name__}.Fraction('{number}')" for number in (self.start, self.step))
        return f"{__name__}.Axis({self.length}, {self.size}, {start}, {step})"


Constants = dict[str, torch.Tensor]
PASSES = ("frame_columns", "frame_rows")
"""Paths of the convolutions in a graph of the model."""
_ROWS, _COLUMNS = 2, 3
"""Axes of (N, C, H, W)."""
_EPSILON = 1e-12
"""Of weights: below it they are rounding alone."""


@dataclass(frozen=True)
class Filter:
    """How much a pixel weighs, by its distance from a result's center."""

    weight: Callable[[Float64], Float64]
    support: float
    """Largest distance that has a weight."""
    overshoots: bool = False
    """Whether some weights are negative: values beyond 0..255 come of it, which Pillow cuts after each pass."""


def _triangle(x: Float64) -> Float64:
    weight: Float64 = np.maximum(1 - np.abs(x), 0)
    return weight


def _cubic(x: Float64) -> Float64:
    """Return R. Keys' cubic convolution with a = -1/2 (IEEE Trans. ASSP 29, 1981)."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.select([x < 1, x < 2], [near, far], 0.0)


def _lanczos(x: Float64) -> Float64:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


FILTERS: Mapping[str, Filter] = {
    "bilinear": Filter(_triangle, 1),
    "bicubic": Filter(_cubic, 2, overshoots=True),
    "lanczos": Filter(_lanczos, 3, overshoots=True),
}
"""Pillow's, by their names in a recipe."""


@dataclass(frozen=True)
class Kernels:
    """The convolution of one axis: q results for each place, and places are p pixels apart."""

    weights: Float64
    """Of shape (q, K)."""
    gains: Float64 | None
    """Of shape (q, places): what results are multiplied by where the frame ends within a kernel; None where it never
    does."""
    stride: int
    """The p."""
    kept: slice
    """The pixels that are read."""
    zeros: tuple[int, int]
    """How many are read before and after the frame."""

    @property
    def is_copy(self) -> bool:
        """Whether pixels stay as they are."""
        return self.weights.shape == (1, 1) and self.stride == 1

    @property
    def multiplications(self) -> int:
        """How many one line across takes, of one channel."""
        read = self.kept.stop - self.kept.start + sum(self.zeros)
        places = (read - self.weights.shape[1]) // self.stride + 1
        return 0 if self.is_copy else int(self.weights.size * places)


def kernels_of(axis: Axis, filter_: Filter, antialias: bool, corners: bool, phases: int) -> Kernels:
    """Return the convolution that makes an axis.

    Args:
        axis: Which.
        filter_: Weighs the pixels.
        antialias: Whether it is as wide as a result, and not as a pixel.
        corners: Whether a result is read at the corner of its part, and not at its center.
        phases: The q, a multiple of the step's denominator.
    """
    stride, width = int(axis.step * phases), float(axis.step) if antialias else 1.0
    first = axis.start + (Fraction(1, 2) if corners else axis.step / 2)
    centers = np.array([float(first + number * axis.step) for number in range(phases)])
    reach = filter_.support * width
    places = np.arange(math.floor(centers[0] - reach), math.ceil(centers[-1] + reach) + 1)
    weights = filter_.weight((places + 0.5 - centers[:, None]) / width)
    (used,) = np.nonzero(np.abs(weights).max(0) > _EPSILON)
    low, weights = int(places[used[0]]), weights[:, used[0] : used[-1] + 1]
    weights = weights / weights.sum(1, keepdims=True)
    starts = low + stride * np.arange(-(-axis.size // phases))
    seen = starts + np.arange(weights.shape[1])[:, None]
    is_made = phases * np.arange(len(starts)) + np.arange(phases)[:, None] < axis.size  # the others are cut off
    sums = np.where(is_made, weights @ ((seen >= 0) & (seen < axis.length)), 1)
    is_whole = np.abs(sums - 1).max() < _EPSILON
    end = int(starts[-1]) + weights.shape[1]
    kept, zeros = slice(max(low, 0), min(end, axis.length)), (max(-low, 0), max(end - axis.length, 0))
    return Kernels(weights, None if is_whole else 1 / sums, stride, kept, zeros)


@dataclass(frozen=True)
class Frame:
    """A picture as an app has it, and how the network's is made of it."""

    columns: Axis
    rows: Axis
    filter: str
    """One of `FILTERS`."""
    antialias: bool = True
    """Whether the filter is as wide as a result, and not as a pixel; without, it is bilinear."""
    corners: bool = False
    """Whether a result is read at the corner of its part, and not at its center."""

    def __repr__(self) -> str:
        """Return the expression that makes it, from anywhere."""
        how = (self.columns, self.rows, self.filter, self.antialias, self.corners)
        return f"{__name__}.Frame({', '.join(map(repr, how))})"

    @property
    def phases(self) -> int:
        """The q of the factor p/q, the same for both axes."""
        return math.lcm(self.columns.step.denominator, self.rows.step.denominator)

    @cached_property
    def kernels(self) -> tuple[Kernels, Kernels]:
        """The convolutions of the columns and of the rows: Pillow has them in this order."""
        how = (FILTERS[self.filter], self.antialias, self.corners, self.phases)
        return kernels_of(self.columns, *how), kernels_of(self.rows, *how)

    @property
    def white(self) -> int:
        """What `scale` makes of 255."""
        return _SIX if self._is_cut else BYTES

    @property
    def multiplications(self) -> int:
        """How many `scale` takes, of one channel."""
        across, down = self.kernels
        height: int = down.kept.stop - down.kept.start
        return across.multiplications * height + down.multiplications * self.columns.size

    @property
    def _is_cut(self) -> bool:
        return FILTERS[self.filter].overshoots and not all(each.is_copy for each in self.kernels)

    def constants(self, channels: int) -> Constants:
        """Return what `scale` multiplies a frame of so many channels by, float64, by its name."""
        made, white = Constants(), self.white / BYTES
        for axis, name, each in self._passes():
            weights = torch.from_numpy(each.weights * white).repeat(channels, 1)
            made[f"{name}_weight"] = weights[:, None, None] if axis == _COLUMNS else weights[:, None, :, None]
            if each.gains is not None:  # as TFLite has the axes
                gains = torch.from_numpy(each.gains).repeat(channels, 1).t()
                made[f"{name}_gain"] = gains[None, None] if axis == _COLUMNS else gains[None, :, None]
            channels, white = channels * self.phases, 1.0
        return made

    def scale(self, frames: torch.Tensor, constants: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return frames of 0 to 255, (N, C, H, W), in the network's size, and 255 as `white`.

        Args:
            frames: Of the axes' lengths.
            constants: What `constants` returned, in the frames' dtype.
        """
        x = frames
        for axis, each in zip((_COLUMNS, _ROWS), self.kernels, strict=True):
            if each.kept != slice(0, x.shape[axis]):
                x = x.narrow(axis, each.kept.start, each.kept.stop - each.kept.start)
        for axis, name, each in self._passes():
            if any(each.zeros):
                x = functional.pad(x, each.zeros if axis == _COLUMNS else (0, 0, *each.zeros))
            stride = (1, each.stride) if axis == _COLUMNS else (each.stride, 1)
            x = functional.conv2d(x, constants[f"{name}_weight"], None, stride, groups=x.shape[1])
            if each.gains is not None:
                x = (x.permute(0, 2, 3, 1) * constants[f"{name}_gain"]).permute(0, 3, 1, 2)
            if self._is_cut:
                x = functional.relu6(x)
        return _to_space(x, self.phases, self.rows.size, self.columns.size) if self.phases > 1 else x

    def _passes(self) -> Iterator[tuple[int, str, Kernels]]:
        """Yield each axis that does not stay as it is."""
        for axis, name, each in zip((_COLUMNS, _ROWS), PASSES, self.kernels, strict=True):
            if not each.is_copy:
                yield axis, name, each

    def enlarge(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return frames of which `scale` makes about these pictures of the network's size: the nearest pixel of each.

        What is cut off is like the border.
        """
        for axis, dim in ((self.rows, _ROWS), (self.columns, _COLUMNS)):
            nearest = [math.floor((place + Fraction(1, 2) - axis.start) / axis.step) for place in range(axis.length)]
            pictures = pictures.index_select(dim, torch.tensor(nearest).clamp(0, axis.size - 1))
        return pictures


def _to_space(x: torch.Tensor, phases: int, height: int, width: int) -> torch.Tensor:
    """Return (N, C, height, width) of (N, C q q, rows, columns): q columns of each channel, of each of them q rows.

    Two transpositions of four axes, all that delegates take, and views that cost nothing in TFLite's order of axes.
    """
    batch, channels, rows, columns = x.shape
    channels = channels // phases**2
    dealt = x.permute(0, 2, 3, 1).reshape(batch * rows * columns, channels, phases, phases)
    pixels = dealt.permute(0, 3, 2, 1).reshape(batch * rows, columns, phases, phases * channels)
    lines = pixels.permute(0, 2, 1, 3).reshape(batch, rows * phases, columns * phases, channels)
    if rows * phases > height or columns * phases > width:
        lines = lines[:, :height, :width]
    return lines.permute(0, 3, 1, 2)
