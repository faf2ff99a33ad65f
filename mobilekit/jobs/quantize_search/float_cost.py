"""What parts in float cost an int8 file: the share of its arithmetic and of its memory traffic."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch.fx import GraphModule, Node

from mobilekit.artifacts.runtime import Arrays
from mobilekit.parity.ledger.float_nodes import fused_nodes, is_dense
from mobilekit.rewrites.fx.graph import note_shapes, path_of, shape_of


class FloatCost:
    """Multiply-accumulates of the dense layers of a graph, and the sizes of all that its steps compute.

    Args:
        graph: The rewritten model; its nodes get the shapes for this input.
        one: One input, (1, ...) by name.
    """

    def __init__(self, graph: GraphModule, one: Arrays) -> None:
        note_shapes(graph, {name: torch.from_numpy(array) for name, array in one.items()})
        inside = fused_nodes(graph)
        self.macs: dict[str, int] = {}
        """Of each dense layer by its path, for one input."""
        self._sizes: dict[Node, int] = {}
        for node in graph.graph.nodes:
            shape = shape_of(node)
            if shape is None or node.op not in ("call_module", "call_function"):
                continue
            if node.op == "call_module" and is_dense(graph, node):
                weight = graph.get_submodule(str(node.target)).get_parameter("weight")
                places = math.prod(shape) // weight.shape[0]
                self.macs[path_of(node)] = self.macs.get(path_of(node), 0) + places * weight.numel()
            if node not in inside:
                self._sizes[node] = math.prod(shape)

    def macs_share(self, layers: Collection[str]) -> float:
        """Return the share of the multiply-accumulates that these dense layers do."""
        return sum(self.macs[layer] for layer in layers) / sum(self.macs.values())

    def values_share(self, in_float: Collection[Node]) -> float:
        """Return the share of all computed values that are in float, or that a border turns into float or back.

        Args:
            in_float: The steps in float.
        """
        turned = [
            node for node in self._sizes if any((user in in_float) != (node in in_float) for user in _readers(node))
        ]
        kept = [node for node in self._sizes if node in in_float]
        return sum(self._sizes[node] for node in (*kept, *turned)) / sum(self._sizes.values())


def _readers(node: Node) -> list[Node]:
    return [user for user in node.users if user.op != "output"]
