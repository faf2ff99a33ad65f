"""What a graph costs to run: multiply-accumulates, and how many ops of which kind."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from mobilekit.models.analysis.macs import count_macs
from mobilekit.models.inputs import input_names
from mobilekit.models.shapes import Shapes
from mobilekit.rewrites.fx.graph import module_of, shape_of
from mobilekit.rewrites.fx.precision import compute_in


@dataclass(frozen=True)
class Cost:
    """The cost of one input."""

    macs: int
    """Multiply-accumulates, counted as the papers count them."""
    kinds: dict[str, int]
    """Number of the graph's ops that make tensors, by name; most frequent first."""

    @property
    def ops(self) -> int:
        """Number of the graph's ops that make tensors."""
        return sum(self.kinds.values())

    def to_json(self) -> dict[str, Any]:
        """Return the cost as JSON data."""
        return {"macs": self.macs, "ops": self.ops, "kinds": self.kinds}


def cost_of(graph: GraphModule, shapes: Shapes) -> Cost:
    """Count a graph's cost for inputs of these shapes; `note_shapes` must have run on it."""
    kinds = Counter(_name(graph, node) for node in graph.graph.nodes if _is_op(node))
    in_order = (shapes[name] for name in input_names(graph))
    return Cost(count_macs(compute_in(copy.deepcopy(graph), torch.float32), *in_order), dict(kinds.most_common()))


def changed_kinds(before: Cost, after: Cost) -> dict[str, int]:
    """Return how many more ops of each kind there are after a change, those kinds alone whose number changed."""
    names = dict.fromkeys([*before.kinds, *after.kinds])
    changes = {name: after.kinds.get(name, 0) - before.kinds.get(name, 0) for name in names}
    return {name: change for name, change in changes.items() if change}


def _is_op(node: Node) -> bool:
    return node.op.startswith("call_") and shape_of(node) is not None


def _name(graph: GraphModule, node: Node) -> str:
    module = module_of(graph, node)
    if module is not None:
        return type(module).__name__
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0]
