"""Proof by evaluation: an exact rewrite leaves the outputs as they are, in float64."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.fx import GraphModule

from mobilekit.models.outputs import named_outputs

EXACT_RELATIVE_ERROR = 1e-9
"""Limit of the proof. float64 rounds at 1.1e-16; a few hundred layers of a few thousand terms each leave the error of
another order of the same sums under 1e-12, and a function that is really another one is far above 1e-9."""
_BORDER = 3
_LARGE = 8


@dataclass(frozen=True)
class Case:
    """One random input of the proof."""

    shape: tuple[int, ...]
    seed: int

    def make(self) -> torch.Tensor:
        """Return the input, float64, NCHW: standard normal.

        The last image of several has values at its border alone, and larger ones: where padding differs, and where
        activations saturate.
        """
        images = torch.randn(self.shape, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
        if len(images) > 1:
            images[-1] *= _LARGE
            images[-1, :, _BORDER:-_BORDER, _BORDER:-_BORDER] = 0
        return images


@dataclass(frozen=True)
class Proof:
    """What was compared, and the largest error found."""

    relative_error: float
    """max |after - before| / max |before|, the worst of all cases."""
    cases: tuple[Case, ...]

    @property
    def holds(self) -> bool:
        """Whether the rewrite left the function as it was."""
        return self.relative_error <= EXACT_RELATIVE_ERROR

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON data."""
        return {**asdict(self), "limit": EXACT_RELATIVE_ERROR, "holds": self.holds}


def cases_for(shape: tuple[int, ...]) -> tuple[Case, ...]:
    """Return the cases for a model whose input is `shape`: its size with two images, and an odd and a smaller size.

    Odd sizes are where paddings and poolings differ; the border is in every image.
    """
    _batch, channels, height, width = shape
    odd = (height + 1 - height % 2, width + 1 - width % 2) if height % 2 == 0 else (height + 2, width + 2)
    less = (height - height // 8 + (height // 8) % 2, width - width // 4)
    return (
        Case((2, channels, height, width), 0),
        Case((1, channels, *odd), 1),
        Case((1, channels, *less), 2),
    )


def smallest_case(shape: tuple[int, ...]) -> Case:
    """Return the one case that a graph takes that was traced for one size: an input of just this shape."""
    return Case(shape, 3)


def outputs_of(graph: GraphModule, cases: tuple[Case, ...]) -> dict[Case, Any]:
    """Run the cases that the model can take; dense maps, for one, take a single size."""
    outputs = {}
    for case in cases:
        with contextlib.suppress(RuntimeError, ValueError), torch.no_grad():
            outputs[case] = graph.forward(case.make())  # calling the graph prints a traceback where it fails
    return outputs


def compare(before: dict[Case, Any], after: dict[Case, Any]) -> Proof:
    """Compare the outputs of the same cases."""
    worst = max(relative_error(before[case], after[case]) if case in after else float("inf") for case in before)
    return Proof(worst, tuple(before))


def relative_error(before: Any, after: Any) -> float:
    """Return max |after - before| / max |before|, of several outputs the worst.

    Infinite where shapes differ or a value is not finite.
    """
    if not isinstance(before, torch.Tensor):
        old, new = named_outputs(before), named_outputs(after)
        return max(relative_error(old[name], new[name]) for name in old)
    if before.shape != after.shape or not bool(torch.isfinite(after).all()):
        return float("inf")
    scale = before.abs().max().item()
    error = (after - before).abs().max().item()
    return error / scale if scale else (float("inf") if error else 0.0)
