"""A program's graph while steps in it are written in other forms."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten
NUMBERS = (
    *(aten.full.default, aten.ones.default, aten.zeros.default, aten.eye.default, aten.linspace.default),
    *(aten.arange.default, aten.arange.start, aten.arange.start_step),
)
"""What makes tensors of nothing but numbers."""
_CONSTANT = "constant_{}"
_SOURCES = ("source_fn_stack", "torch_fn")
"""Of a step's meta: the function of PyTorch's that it comes from."""


class Writer:
    """Writes steps before one that they will stand for.

    Args:
        graph: The program's.
        node: That step.
    """

    def __init__(self, graph: GraphModule, node: Node) -> None:
        self.graph, self.node, self._stack = graph, node, dict(node.meta.get("nn_module_stack") or {})
        if self._stack:
            path, kind = [*self._stack.values()][-1]
            self._stack[f"form@{node.name}"] = (path, f"form of {kind}")

    def as_formula_of(self, layer: str) -> None:
        """Let the steps to come say that they are the formula of a layer, in whichever module it stands.

        Args:
            layer: Name of the layer's class.
        """
        path = [*self._stack.values()][-1][0] if self._stack else ""
        self._stack[f"{layer}@{self.node.name}"] = (path, layer)

    def call(self, target: Any, *args: Any) -> Node:
        """Add a call of an operator, with the path of the module of the step that it will stand for.

        It has neither that step's function nor its layer's class: by these XNNPACKQuantizer takes a step for another.
        """
        with self.graph.graph.inserting_before(self.node):
            made = self.graph.graph.call_function(target, args)
        value = target(*map_arg(args, lambda each: each.meta["val"]))
        kept = {key: known for key, known in self.node.meta.items() if key not in _SOURCES}
        made.meta = {**kept, "nn_module_stack": dict(self._stack), "val": value}
        return made

    def constant(self, value: torch.Tensor) -> Node:
        """Add a tensor that the program holds, float64 until the graph is proved."""
        number = len([name for name, _ in self.graph.named_buffers() if name.startswith(_CONSTANT.format(""))])
        name = _CONSTANT.format(number)
        self.graph.register_buffer(name, value.double())
        with self.graph.graph.inserting_before(self.node):
            made = self.graph.graph.get_attr(name)
        mode = _mode(self.node)
        made.meta = {**self.node.meta, "val": value.float() if mode is None else mode.from_tensor(value.float())}
        return made

    def view(self, node: Node, *shape: int) -> Node:
        """Return a step's result in another shape."""
        return node if shape_of(node) == shape else self.call(torch.ops.aten.reshape.default, node, list(shape))


def shape_of(node: Node) -> tuple[int, ...]:
    """Return the shape of a step's result."""
    return tuple(int(size) for size in node.meta["val"].shape)


def is_float(node: Node) -> bool:
    """Return whether a step's result is one tensor of floating-point numbers."""
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def given(node: Node) -> dict[str, Any]:
    """Return the arguments of a call by the names that its operator has for them, defaults too."""
    target: Any = node.target
    names = target._schema.arguments
    found = {each.name: each.default_value for each in names if each.has_default_value()}
    found.update(zip((each.name for each in names), node.args, strict=False))
    return found | dict(node.kwargs)


def _mode(node: Node) -> Any:
    value = node.meta["val"]
    first = value[0] if isinstance(value, list | tuple) else value
    return getattr(first, "fake_mode", None)
