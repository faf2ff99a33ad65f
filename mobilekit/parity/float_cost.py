"""What parts in float cost an int8 file: the share of its arithmetic and of its memory traffic."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Interpreter, Node

from mobilekit.parity.float_nodes import fused_nodes, is_dense
from mobilekit.rewrites.graph import path_of
from mobilekit.runtimes.base import Arrays


class FloatCost:
    """Multiply-accumulates of the dense layers of a graph, and the sizes of all that its steps compute.

    Args:
        graph: The rewritten model.
        one: One input, (1, ...) by name.
    """

    def __init__(self, graph: GraphModule, one: Arrays) -> None:
        self.macs: dict[str, int] = {}
        """Of each dense layer by its path, for one input."""
        self._sizes: dict[Node, int] = {}
        inside, cost = fused_nodes(graph), self

        class Counter(Interpreter):
            def run_node(self, n: Node) -> Any:
                result = super().run_node(n)
                if n.op in ("call_module", "call_function", "call_method") and isinstance(result, torch.Tensor):
                    if n.op == "call_module" and is_dense(graph, n):
                        weight = graph.get_submodule(str(n.target)).get_parameter("weight")
                        places = int(np.prod(result.shape)) // weight.shape[0]
                        cost.macs[path_of(n)] = cost.macs.get(path_of(n), 0) + places * weight.numel()
                    if n not in inside:
                        cost._sizes[n] = result.numel()
                return result

        with torch.inference_mode():
            Counter(graph).run(*(torch.from_numpy(array) for array in one.values()))

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
