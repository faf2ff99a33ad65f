"""How many axes the tensors of a graph and of a file have: compilers for GPUs and NPUs take four."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from torch.fx import GraphModule
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from mobilekit.artifacts.tflite import TFLiteGraph, numbers


class _Ranks(TorchDispatchMode):
    """Notes the most axes of what operators make, inside the modules that rewrites put into a graph too."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator."""
        made = operator(*args, **(kwargs or {}))
        ranks = [value.ndim for value in pytree.tree_leaves(made) if isinstance(value, torch.Tensor)]
        self.most = max([self.most, *ranks])
        return made


@torch.no_grad()
def most_axes_of(graph: GraphModule, x: torch.Tensor) -> int:
    """Return the largest number of axes of a value that a graph makes of `x`."""
    with _Ranks() as ranks:
        graph(x)
    return ranks.most


def most_axes_in(path: Path) -> int:
    """Return the largest number of axes of a tensor of an .onnx or .tflite file."""
    if path.suffix == ".tflite":
        return max(len(numbers(tensor.shape)) for tensor in TFLiteGraph(path.read_bytes()).tensors)
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    shapes = {value.name: value.type.tensor_type.shape for value in (*graph.input, *graph.value_info, *graph.output)}
    made = {name for node in graph.node for name in node.output if name}
    assert made <= set(shapes), "the file does not say the shape of every value"
    return max(*(len(shape.dim) for shape in shapes.values()), *(len(each.dims) for each in graph.initializer))
