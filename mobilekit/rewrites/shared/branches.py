"""Convolutions of one input as one convolution: its kernel has a place for every tap of theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from mobilekit.rewrites.fx.ops import pair
from mobilekit.rewrites.shared.convolutions import regrouped

MOST_WORK = 1.5
"""How many times the multiply-accumulates of the branches the one convolution may have. A 1x3 and a 3x1 become a 3x3,
of 9 taps for 6, in a third of the passes over the map; of a 1x5 and a 5x1 25 taps for 10 are no faster on x86
(`merge-depthwise` measured it)."""


@dataclass(frozen=True)
class Branch:
    """One branch of a sum: a factor for each channel times a convolution of the sum's input."""

    conv: nn.Conv2d
    """The input itself is a depthwise one of 1x1 whose weights are 1."""
    factor: torch.Tensor
    """(C,), of the channels that it makes."""
    path: str = ""
    """Of the convolution in the model; empty where the model has another step in its place."""
    problem: str = ""
    """Why it can be part of no other convolution."""

    @property
    def is_identity(self) -> bool:
        """Whether it is a scaled copy of the input."""
        return not self.path and self.conv.kernel_size == (1, 1)


class _Taps(NamedTuple):
    """Where along one axis a kernel reads, seen from where a kernel of one tap reads."""

    first: int
    step: int
    length: int

    @property
    def places(self) -> list[int]:
        return [self.first + self.step * index for index in range(self.length)]


def identity(channels: int) -> nn.Conv2d:
    """Return the depthwise convolution, in float64, that gives what it takes."""
    conv = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
    conv.weight = nn.Parameter(torch.ones(channels, 1, 1, 1, dtype=torch.float64))
    return conv


@dataclass(frozen=True)
class Form:
    """The form of a convolution that has a place for each tap of several."""

    taps: tuple[_Taps, _Taps]
    """Along H and W."""
    stride: tuple[int, int]
    groups: int
    weights: int
    """How many weights it has."""

    def merge(self, branches: Sequence[Branch], constant: torch.Tensor) -> nn.Conv2d:
        """Return the convolution of this form that is the sum of the branches and of a constant (C,)."""
        first = branches[0].conv
        height, width = self.taps
        conv = nn.Conv2d(
            first.in_channels,
            first.out_channels,
            (height.length, width.length),
            self.stride,
            (-height.first, -width.first),
            (height.step, width.step),
            self.groups,
            device="meta",
        )
        with torch.no_grad():
            conv.weight, bias = nn.Parameter(_weight(branches, self)), _bias(branches, constant)
        conv.bias = None if bias is None else nn.Parameter(bias)
        return conv.eval()


def form_of(branches: Sequence[Branch], taken: tuple[int, ...], made: tuple[int, ...]) -> Form | str:
    """Return the form of the convolution that is the sum of branches, or why there is none.

    Args:
        branches: Of one input, and with results of one shape.
        taken: Shape (N, C, H, W) of their input.
        made: Shape of their results.
    """
    problem = next((branch.problem for branch in branches if branch.problem), None)
    if problem is not None:
        return problem
    convs = [branch.conv for branch in branches]
    strides = sorted({pair(conv.stride) for conv in convs})
    if len(strides) > 1:
        return f"its branches go in steps of {' and '.join(_times(stride) for stride in strides)}"
    groups = math.gcd(*(conv.groups for conv in convs))
    taps = _common([_taps(conv, 0) for conv in convs]), _common([_taps(conv, 1) for conv in convs])
    size = _times([each.length for each in taps])
    for each, stride, length, result in zip(taps, strides[0], taken[2:], made[2:], strict=True):
        if (length - 2 * each.first - each.step * (each.length - 1) - 1) // stride + 1 != result:
            return f"a kernel of {size} for all of them needs more padding on one side than on the other"
    form = Form(taps, strides[0], groups, math.prod(each.length for each in taps) * made[1] * taken[1] // groups)
    weights = sum(conv.weight.numel() for conv in convs)
    if form.weights > MOST_WORK * weights:
        kind = f"{size}, {groups} group{'s' * (groups > 1)}"
        return f"one kernel for all of them, {kind}, has {form.weights / weights:.1f} times their arithmetic"
    return form


def _weight(branches: Sequence[Branch], form: Form) -> torch.Tensor:
    """Return the sum of all kernels, each at its place."""
    first = branches[0].conv
    shape = (first.out_channels, first.in_channels // form.groups, *(taps.length for taps in form.taps))
    total = first.weight.new_zeros(shape)
    for branch in branches:
        rows, columns = (
            torch.tensor([(place - taps.first) // taps.step for place in _taps(branch.conv, axis).places])
            for axis, taps in enumerate(form.taps)
        )
        weight = regrouped(branch.conv.weight, branch.conv.groups, form.groups)
        total[:, :, rows[:, None], columns] += weight * branch.factor.view(-1, 1, 1, 1)
    return total


def _bias(branches: Sequence[Branch], constant: torch.Tensor) -> torch.Tensor | None:
    """Return the sum of all biases; None where nothing is added."""
    biases = [branch.conv.bias * branch.factor for branch in branches if branch.conv.bias is not None]
    if not biases and not constant.any():
        return None
    return sum(biases, constant.clone())


def _taps(conv: nn.Conv2d, axis: int) -> _Taps:
    count, step = conv.kernel_size[axis], conv.dilation[axis]
    if conv.padding == "same":
        return _Taps(-(step * (count - 1) // 2), step, count)
    return _Taps(0 if isinstance(conv.padding, str) else -pair(conv.padding)[axis], step, count)


def _common(all_taps: Sequence[_Taps]) -> _Taps:
    """Return the fewest evenly spaced taps that have all of these."""
    places = sorted({place for taps in all_taps for place in taps.places})
    step = math.gcd(*(place - places[0] for place in places)) or 1
    return _Taps(places[0], step, (places[-1] - places[0]) // step + 1)


def _times(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
