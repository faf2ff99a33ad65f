"""The layouts in which one tensor stands in two graphs, and how far two tensors are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How the values of a reference's tensor stand in a candidate's: its axes in another order, and another shape."""

    reference: Shape
    candidate: Shape
    axes: tuple[int, ...]
    """The reference's axes in the candidate's order."""

    def to_candidate(self, array: Floats) -> Floats:
        """Return the reference's tensor as the candidate has it."""
        return np.ascontiguousarray(array.transpose(self.axes)).reshape(self.candidate)

    def to_reference(self, array: Floats) -> Floats:
        """Return the candidate's tensor as the reference has it."""
        moved = array.reshape([self.reference[axis] for axis in self.axes])
        return np.ascontiguousarray(moved.transpose(np.argsort(self.axes)))


def layouts_between(reference: Shape, candidate: Shape) -> list[Layout]:
    """Return the layouts in which a tensor of one shape could stand in one of the other, the likeliest first.

    Its axes are as they are, or the second (the channels) is last. None where the sizes differ.
    """
    if math.prod(reference) != math.prod(candidate):
        return []
    rank = len(reference)
    orders = [tuple(range(rank))]
    if rank >= 3:
        orders.append((0, *range(2, rank), 1))
    layouts = [Layout(reference, candidate, axes) for axes in orders]
    return sorted(layouts, key=lambda one: tuple(reference[axis] for axis in one.axes) != candidate)


def distance(truth: Floats, other: Floats) -> float:
    """Return the L2 norm of the difference over that of `truth`, in float64; infinite where it is not a number.

    Of labels it is the share that differs.
    """
    if truth.dtype.kind in "iub":
        return float((truth.ravel() != other.ravel()).mean())
    exact = truth.ravel().astype(np.float64)
    error = float(np.linalg.norm(other.ravel().astype(np.float64) - exact))
    scale = float(np.linalg.norm(exact))
    if not math.isfinite(error) or not math.isfinite(scale):
        return math.inf
    return error / scale if scale else (0.0 if error == 0 else math.inf)
