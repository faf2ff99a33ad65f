"""The values that a graph's steps make, and how far two of them are apart."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Interpreter, Node

from mobilekit.models.inputs import arguments
from mobilekit.rewrites.fx.precision import compute_in


def record_values(
    graph: GraphModule,
    inputs: Mapping[str, torch.Tensor],
    dtype: torch.dtype | None = None,
    nodes: Collection[Node] | None = None,
) -> dict[Node, torch.Tensor]:
    """Run a graph once, and return the value of each step that makes one float tensor, inputs among them.

    Args:
        graph: The graph; it stays as it is.
        inputs: (N, ...) by the names of the inputs, images NCHW.
        dtype: The number format to compute in, as `torch.float64`; without, the graph's own.
        nodes: The steps to keep, which may be constants; without, all that compute.
    """
    run = graph
    if dtype is not None:
        inputs = {name: tensor.to(dtype) for name, tensor in inputs.items()}
        if any(parameter.dtype != dtype for parameter in graph.parameters()):
            run = compute_in(copy.deepcopy(graph), dtype)
    recorder = _Recorder(run, None if nodes is None else {node.name for node in nodes})
    with torch.no_grad():
        recorder.run(*arguments(graph, inputs))
    return {node: recorder.values[node.name] for node in graph.graph.nodes if node.name in recorder.values}


def distance(value: NDArray[Any], other: NDArray[Any], far: float) -> float:
    """Return the relative L2 distance of two arrays of one size; infinite where it is more than `far`.

    A few values are tried first, as most pairs differ everywhere.
    """
    few = slice(None, None, max(1, value.size // 64))
    x, y = value.ravel(), other.ravel()
    for part in (few, slice(None)):
        scale = float(np.linalg.norm(x[part]))
        found = float(np.linalg.norm(x[part] - y[part])) / scale if scale else float("inf")
        if not found <= far:
            return float("inf")
    return found


class _Recorder(Interpreter):
    def __init__(self, graph: GraphModule, names: Collection[str] | None) -> None:
        super().__init__(graph)
        self.names = names
        self.values: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        is_wanted = n.op not in ("get_attr", "output") if self.names is None else n.name in self.names
        if is_wanted and isinstance(result, torch.Tensor) and result.is_floating_point():
            self.values[n.name] = result.detach()  # what is done to a parameter may give it back as it is
        return result
