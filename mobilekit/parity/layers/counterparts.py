"""Which value of the reference is the same quantity as a value of the rewritten model.

Rewrites fold, move and replace steps, so that a step of the same name may well compute something else: a convolution
with its batch norm folded gives what the batch norm gave. Values decide: both models are run in float64, where equal
functions agree to 15 digits, and steps of the same values are counterparts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Node

from mobilekit.parity.layers.result import EQUAL, Counterpart
from mobilekit.parity.layers.taps import Tap
from mobilekit.rewrites.fx.graph import path_of
from mobilekit.rewrites.fx.record import distance as distance_of
from mobilekit.rewrites.fx.record import record_values

NEAR = 0.5
"""How far an approximate rewrite may take a value before nothing says that it is the same quantity."""

_Doubles = NDArray[np.float64]


def find_counterparts(
    taps: Sequence[Tap],
    rewritten: GraphModule,
    reference: GraphModule,
    inputs: Mapping[str, torch.Tensor],
    approximate: bool = False,
) -> dict[str, Counterpart]:
    """Return the counterpart of each tap that has one, by the tap's name.

    Args:
        taps: Values of the rewritten graph.
        rewritten: Weights in float64, as the rewrites computed them; rounded ones move every value by some 1e-7.
        reference: The traced reference, float32.
        inputs: One input of each name, float32 (1, ...), best a real one, on which few values are zero throughout.
        approximate: Whether a rewrite changed the function. Then the nearest value of the same module is a
            counterpart as well, at the distance that is told with it.
    """
    by_shape: dict[tuple[int, ...], list[tuple[Node, _Doubles]]] = defaultdict(list)
    for node, value in _values(reference, inputs).items():
        by_shape[value.shape].append((node, value))
    named = {node.name: value for node, value in _values(rewritten, inputs).items()}
    found = {}
    for tap in taps:
        value = named[tap.node.name]
        near = [
            (distance_of(value, other, 2 * NEAR), node.name != tap.node.name, node)
            for node, other in by_shape[value.shape]
        ]
        own = {tap.module, tap.step}
        kept = [
            each
            for each in near
            if each[0] <= EQUAL or (approximate and each[0] <= NEAR and (path_of(each[2]) in own or tap.is_output))
        ]
        if kept:
            distance, _, node = min(kept, key=lambda each: (each[0] > EQUAL and each[0], each[1]))
            found[tap.name] = Counterpart(node.name, path_of(node), distance)
    return found


def _values(graph: GraphModule, inputs: Mapping[str, torch.Tensor]) -> dict[Node, _Doubles]:
    """Return the value of each step that gives one float tensor, in float64."""
    return {node: value.numpy() for node, value in record_values(graph, inputs, torch.float64).items()}
