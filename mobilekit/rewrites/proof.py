"""Proof by evaluation: an exact rewrite leaves the outputs as they are, in float64."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule

from mobilekit.models.batches import takes_batches
from mobilekit.models.depthwise import FastDepthwise
from mobilekit.models.inputs import Tensors, arguments
from mobilekit.models.normalization import Pixels
from mobilekit.models.outputs import named_outputs
from mobilekit.models.shapes import resized
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.pixels import NO_PIXELS, pixels_of
from mobilekit.rewrites.report import Proof, ProofCase
from mobilekit.store.bundle import INPUT

_BORDER = 3
_LARGE = 8


class Extra(NamedTuple):
    """An extra input of a case."""

    name: str
    shape: tuple[int, ...]
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Case:
    """Random inputs of the proof."""

    shape: tuple[int, ...]
    """Of the first input, NCHW."""
    seed: int
    extras: tuple[Extra, ...] = ()
    pixels: Pixels = NO_PIXELS

    def make(self) -> Tensors:
        """Return the inputs by name, float64: standard normal, or uniform in an extra input's range.

        The last image of several has values at its border alone, and larger ones: where padding differs, and where
        activations saturate. All this is so after the normalization, where the model does it.
        """
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.randn(self.shape, generator=generator, dtype=torch.float64)
        inputs = {INPUT: images}
        for name, shape, limits in self.extras:
            if limits is None:
                inputs[name] = torch.randn(shape, generator=generator, dtype=torch.float64)
            else:
                values = torch.rand(shape, generator=generator, dtype=torch.float64)
                inputs[name] = limits[0] + (limits[1] - limits[0]) * values
        if len(images) > 1:
            images[-1] *= _LARGE
            images[-1, :, _BORDER:-_BORDER, _BORDER:-_BORDER] = 0
        return inputs | {name: self.pixels.of(inputs[name]) for name in self.pixels.names}

    @property
    def call(self) -> str:
        """The expression in Python that makes the case again."""
        parts = [f"shape={self.shape}", f"seed={self.seed}"]
        if self.extras:
            parts.append(f"extras=({''.join(f'{__name__}.{extra!r}, ' for extra in self.extras)})")
        if self.pixels != NO_PIXELS:
            parts.append(f"pixels={__name__}.{self.pixels!r}")
        return f"{__name__}.Case({', '.join(parts)})"

    @property
    def shapes(self) -> ProofCase:
        """What a report says of the case."""
        return ProofCase(self.shape, self.seed, {extra.name: extra.shape for extra in self.extras})


def cases_for(recipe: Recipe) -> tuple[Case, ...]:
    """Return the cases for a model of a recipe: two images of its size, and another one.

    A graph is of one size. Where padding differs the border shows it, which is in every image.
    """
    _batch, *shape = recipe.input.network_shape
    return _case(recipe, (2, *shape), 0), _case(recipe, (1, *shape), 1)


def smallest_case(recipe: Recipe) -> Case:
    """Return the one case that a graph takes that was traced for one size: inputs of just the recipe's shapes."""
    return _case(recipe, recipe.input.network_shape, 3)


def _case(recipe: Recipe, shape: tuple[int, ...], seed: int) -> Case:
    shapes = resized(recipe.network_shapes, shape)
    extras = (Extra(name, shapes[name], extra.range) for name, extra in recipe.extra_inputs.items())
    return Case(shape, seed, tuple(extras), pixels_of(recipe))


def outputs_of(graph: GraphModule, cases: tuple[Case, ...]) -> dict[Case, Any]:
    """Run the cases that the model can take, image by image where it takes one alone.

    Dense maps, for one, take a single size.
    """
    outputs: dict[Case, Any] = {}
    for case in cases:
        inputs = arguments(graph, case.make())
        with contextlib.suppress(RuntimeError, ValueError), torch.no_grad(), FastDepthwise():
            # Calling the graph prints a traceback where it fails.
            if takes_batches(graph, {}):
                outputs[case] = graph.forward(*inputs)
            else:
                images = zip(*(torch.split(tensor, 1) for tensor in inputs), strict=True)
                outputs[case] = tuple(graph.forward(*image) for image in images)
    return outputs


def compare(before: dict[Case, Any], after: dict[Case, Any]) -> Proof:
    """Compare the outputs of the same cases."""
    worst = max(relative_error(before[case], after[case]) if case in after else float("inf") for case in before)
    return Proof(worst, tuple(case.shapes for case in before))


def is_finite(output: Any) -> bool:
    """Return whether all of a model's outputs are numbers."""
    tensors = [output] if isinstance(output, torch.Tensor) else list(named_outputs(output).values())
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def relative_error(before: Any, after: Any) -> float:
    """Return max |after - before| / max |before|, of several outputs the worst; of labels, the share that differs.

    Infinite where shapes differ or a value is not finite.
    """
    if not isinstance(before, torch.Tensor):
        old, new = named_outputs(before), named_outputs(after)
        return max(relative_error(old[name], new[name]) for name in old)
    if before.shape != after.shape or not bool(torch.isfinite(after).all()):
        return float("inf")
    if not before.is_floating_point():
        return float((after != before).double().mean())
    scale = before.abs().max().item()
    error = (after - before).abs().max().item()
    return error / scale if scale else (float("inf") if error else 0.0)
