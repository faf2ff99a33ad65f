"""A candidate whose inputs and outputs have names, orders and layouts of its own, as the reference has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mobilekit.artifacts.runtime import Arrays, Runtime, fits, listed_shapes
from mobilekit.errors import UsageError
from mobilekit.parity.bisect.layouts import Floats, Layout, Shape, distance, layouts_between


@dataclass
class Paired(Runtime):
    """A candidate that is run by the reference's names.

    Args:
        runtime: What runs it.
        own_inputs: Its input's name by the reference's.
        own_outputs: Its output's name by the reference's, in the reference's order.
        layouts: The layout of each output, by the reference's name.
    """

    runtime: Runtime
    own_inputs: dict[str, str]
    own_outputs: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was matched by shape or value and not by name, a sentence each."""

    def _run(self, inputs: Arrays) -> Arrays:
        count = len(next(iter(inputs.values())))
        made = self.runtime.run({own: inputs[name] for name, own in self.own_inputs.items()})
        return {name: _unfolded(made[own], self.layouts[name], count) for name, own in self.own_outputs.items()}


def _unfolded(array: Floats, layout: Layout, count: int) -> Floats:
    moved = array.reshape([count, *(layout.reference[axis] for axis in layout.axes[1:])])
    return np.ascontiguousarray(moved.transpose(np.argsort(layout.axes)))


def pair_inputs(runtime: Runtime, wanted: Mapping[str, Shape]) -> Paired:
    """Give each of the reference's inputs one of the candidate's: of the same name, or of the same shape.

    Args:
        runtime: The candidate.
        wanted: Shapes of the reference's inputs, images NCHW.

    Raises:
        UsageError: The inputs are others.
    """
    taken = runtime.input_shapes()
    pairs: dict[str, str] = {}
    notes = []
    for own, shape in wanted.items():
        left = {key: other for key, other in taken.items() if key not in pairs.values() and fits(shape, other)}
        if not left:
            break
        pairs[own] = own if own in left else next(iter(left))
        if pairs[own] != own and len(wanted) > 1:
            notes.append(f"input {pairs[own]} is taken as {own}, by its shape")
    if len(pairs) < len(wanted) or len(taken) != len(wanted):
        raise UsageError(
            f"{runtime.name} takes {listed_shapes(taken)}, and the reference {listed_shapes(wanted)}.",
            "Both need the same inputs, with the batch first; images may be NCHW or NHWC.",
        )
    return Paired(runtime, pairs, notes=notes)


def pair_outputs(paired: Paired, inputs: Arrays, wanted: Arrays) -> None:
    """Give each of the reference's outputs one of the candidate's.

    It is the one of the same name and size, or else the one of the same size and the nearest values.

    Args:
        paired: The candidate, with its inputs.
        inputs: One of each input, by the reference's names.
        wanted: The reference's outputs for them.

    Raises:
        UsageError: It has no output of a size.
    """
    made = paired.runtime.run({own: inputs[key] for key, own in paired.own_inputs.items()})
    for key, truth in wanted.items():
        options = [
            (own != key, distance(truth, layout.to_reference(array)), own, layout)
            for own, array in made.items()
            if own not in paired.own_outputs.values()
            for layout in layouts_between(truth.shape, array.shape)
        ]
        if not options:
            gives, wants = ({one: array.shape for one, array in arrays.items()} for arrays in (made, wanted))
            raise UsageError(
                f"{paired.runtime.name} gives {listed_shapes(gives)}, and the reference {listed_shapes(wants)}.",
                "Is it the same model, with the same number of classes?",
            )
        *_, own, layout = min(options, key=lambda one: one[:2])
        paired.own_outputs[key], paired.layouts[key] = own, layout
        if own != key:
            paired.notes.append(f"output {own} is taken as {key}, by its {'values' if len(made) > 1 else 'size'}")
    extra = [own for own in made if own not in paired.own_outputs.values()]
    if extra:
        paired.notes.append(f"not compared, as the reference has no such output: {', '.join(extra)}")
