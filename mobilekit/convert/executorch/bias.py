"""Biases of a program that make up for what rounding its weights to int8 moves each channel's mean by.

As in `convert.int8.bias`, which has the reasons and the source; here of steps of torch. The Python that has ExecuTorch
runs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Interpreter, Node

from mobilekit.rewrites.shared.int8 import in_steps

aten = torch.ops.aten
_LAYERS = (aten.conv2d.default, aten.linear.default)


def correct_biases(graph: GraphModule, batches: Sequence[Sequence[torch.Tensor]], kept: Collection[str]) -> None:
    """Add to the bias of each layer what rounding its weights to int8 will take from its channels on average.

    A layer is linear, so the mean of what it makes of rounding is what it makes of its inputs' mean.

    Args:
        graph: float32; it is changed.
        batches: What it takes, each a tensor for each input.
        kept: Names of the steps that stay in float.
    """
    layers = [node for node in _layers(graph) if node.name not in kept]
    means = _Means(graph, layers)
    for batch in batches:
        means.run(*batch)
    for node in layers:
        weight, bias = (_constant(graph, node.args[place]) for place in (1, 2))
        assert weight is not None and bias is not None
        lost = weight - in_steps(weight, tuple(range(1, weight.ndim)))
        moved = node.target(means.sums[node] / len(batches), lost, None, *node.args[3:])  # type: ignore[operator]
        channels = 1 if node.target is aten.conv2d.default else moved.ndim - 1
        bias += moved.movedim(channels, 0).flatten(1).mean(1)


class _Means(Interpreter):
    """Runs a graph, and sums what layers take, the mean over each batch."""

    def __init__(self, graph: GraphModule, layers: Collection[Node]) -> None:
        super().__init__(graph)
        self.sums: dict[Node, torch.Tensor] = {}
        self._layers = {*layers}

    def run_node(self, node: Node) -> Any:
        """Note what a layer takes, and run it."""
        if node in self._layers:
            taken = self.env[node.all_input_nodes[0]].mean(0, keepdim=True)
            self.sums[node] = self.sums[node] + taken if node in self.sums else taken
        return super().run_node(node)


def _layers(graph: GraphModule) -> list[Node]:
    """Return the steps with weights and a bias of their own; layers that share one are left as they are."""
    shared = Counter(node.target for node in graph.graph.nodes if node.op == "get_attr" for _user in node.users)
    return [
        node
        for node in graph.graph.nodes
        if node.target in _LAYERS and _constant(graph, node.args[1]) is not None and len(node.args) > 2
        if _constant(graph, node.args[2]) is not None and shared[node.args[2].target] == 1
    ]


def _constant(graph: GraphModule, node: object) -> torch.Tensor | None:
    """Return the constant that a node reads; None where it is no constant."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: Any = graph
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value.data if isinstance(value, torch.Tensor) else None
