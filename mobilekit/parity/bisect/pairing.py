"""A candidate whose inputs and outputs have names, orders and layouts of its own, as the reference has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import UsageError
from mobilekit.parity.bisect.layouts import Floats, Layout, Shape, distance, layouts_between

Free = Sequence[Any]
"""A shape in which names, None or -1 stand for any size."""


@dataclass
class Paired(Runtime):
    """A candidate that is run by the reference's names.

    Args:
        runtime: What runs it.
        inputs: Its input's name by the reference's.
        outputs: Its output's name by the reference's, in the reference's order.
        layouts: The layout of each output, by the reference's name.
    """

    runtime: LiteRTRuntime | OnnxRuntime
    inputs: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was matched by shape or value and not by name, a sentence each."""

    def run(self, inputs: Arrays) -> Arrays:
        """Run the candidate; see `Runtime.run`."""
        count = len(next(iter(inputs.values())))
        made = self.runtime.run({own: inputs[name] for name, own in self.inputs.items()})
        return {name: _unfolded(made[own], self.layouts[name], count) for name, own in self.outputs.items()}


def _unfolded(array: Floats, layout: Layout, count: int) -> Floats:
    moved = array.reshape([count, *(layout.reference[axis] for axis in layout.axes[1:])])
    return np.ascontiguousarray(moved.transpose(np.argsort(layout.axes)))


def shapes_taken(runtime: LiteRTRuntime | OnnxRuntime) -> dict[str, Free]:
    """Return the shape of each input that an artifact takes, by its name."""
    if isinstance(runtime, LiteRTRuntime):
        return {info.name: info.shape for info in runtime.inputs}
    return {one.name: one.shape for one in runtime.session.get_inputs()}


def pair_inputs(runtime: LiteRTRuntime | OnnxRuntime, name: str, wanted: Mapping[str, Shape]) -> Paired:
    """Give each of the reference's inputs one of the candidate's: of the same name, or of the same shape.

    Args:
        runtime: The candidate.
        name: What it is called in messages.
        wanted: Shapes of the reference's inputs, images NCHW.

    Raises:
        UsageError: The inputs are others.
    """
    taken = shapes_taken(runtime)
    pairs: dict[str, str] = {}
    notes = []
    for own, shape in wanted.items():
        left = {key: other for key, other in taken.items() if key not in pairs.values() and _fits(shape, other)}
        if not left:
            break
        pairs[own] = own if own in left else next(iter(left))
        if pairs[own] != own and len(wanted) > 1:
            notes.append(f"input {pairs[own]} is taken as {own}, by its shape")
    if len(pairs) < len(wanted) or len(taken) != len(wanted):
        raise UsageError(
            f"{name} takes {_listed(taken)}, and the reference {_listed(wanted)}.",
            "Both need the same inputs, with a batch of 1; images may be NCHW or NHWC.",
        )
    return Paired(runtime, pairs, notes=notes)


def pair_outputs(paired: Paired, name: str, inputs: Arrays, wanted: Arrays) -> None:
    """Give each of the reference's outputs one of the candidate's.

    It is the one of the same name and size, or else the one of the same size and the nearest values.

    Args:
        paired: The candidate, with its inputs.
        name: What it is called in messages.
        inputs: One of each input, by the reference's names.
        wanted: The reference's outputs for them.

    Raises:
        UsageError: It has no output of a size.
    """
    made = paired.runtime.run({own: inputs[key] for key, own in paired.inputs.items()})
    for key, truth in wanted.items():
        options = [
            (own != key, distance(truth, layout.to_reference(array)), own, layout)
            for own, array in made.items()
            if own not in paired.outputs.values()
            for layout in layouts_between(truth.shape, array.shape)
        ]
        if not options:
            raise UsageError(
                f"{name} gives {_listed({one: array.shape for one, array in made.items()})}, and the reference "
                f"{_listed({one: array.shape for one, array in wanted.items()})}.",
                "Is it the same model, with the same number of classes?",
            )
        *_, own, layout = min(options, key=lambda one: one[:2])
        paired.outputs[key], paired.layouts[key] = own, layout
        if own != key:
            paired.notes.append(f"output {own} is taken as {key}, by its {'values' if len(made) > 1 else 'size'}")
    extra = [own for own in made if own not in paired.outputs.values()]
    if extra:
        paired.notes.append(f"not compared, as the reference has no such output: {', '.join(extra)}")


def _fits(shape: Shape, other: Free) -> bool:
    """Return whether a shape is another one, in either layout; what is no positive number fits any size."""
    forms = [shape, *([(shape[0], *shape[2:], shape[1])] if len(shape) > 2 else [])]
    return any(
        len(form) == len(other)
        and all(not isinstance(b, int) or b < 1 or a == b for a, b in zip(form, other, strict=True))
        for form in forms
    )


def _listed(shapes: Mapping[str, Free]) -> str:
    return " and ".join(f"{name} of {'x'.join(map(str, shape)) or '1'}" for name, shape in shapes.items())
