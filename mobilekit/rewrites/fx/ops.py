"""What a node of the graph computes, however the model's code writes it: as a module, a function or a method."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.fx.graph import module_of, path_of


class OpSpelling(NamedTuple):
    """The module, function and method forms of one operator."""

    modules: tuple[type[nn.Module], ...] = ()
    functions: tuple[Callable[..., Any], ...] = ()
    methods: tuple[str, ...] = ()


SIGMOID = OpSpelling((nn.Sigmoid,), (torch.sigmoid, F.sigmoid, torch.special.expit), ("sigmoid", "sigmoid_"))
HARD_SIGMOID = OpSpelling((nn.Hardsigmoid,), (F.hardsigmoid,))
SILU = OpSpelling((nn.SiLU,), (F.silu,))
HARD_SWISH = OpSpelling((nn.Hardswish,), (F.hardswish,))
GELU = OpSpelling((nn.GELU,), (F.gelu,))
RELU = OpSpelling((nn.ReLU,), (F.relu, torch.relu), ("relu", "relu_"))
RELU6 = OpSpelling((nn.ReLU6,), (F.relu6,))
HARDTANH = OpSpelling((nn.Hardtanh,), (F.hardtanh,))
CLAMP = OpSpelling((), (torch.clamp, torch.clip), ("clamp", "clamp_", "clip", "clip_"))
MULTIPLY = OpSpelling((), (operator.mul, operator.imul, torch.mul, torch.multiply), ("mul", "mul_", "multiply"))
DIVIDE = OpSpelling((), (operator.truediv, operator.itruediv, torch.div, torch.true_divide), ("div", "div_"))
ADD = OpSpelling((), (operator.add, operator.iadd, torch.add), ("add", "add_"))
INTERPOLATE = OpSpelling((nn.Upsample,), (F.interpolate,))  # nn.Upsample's children are the named modes
CONCATENATE = OpSpelling((), (torch.cat, torch.concat, torch.concatenate))
AVERAGE_POOL = OpSpelling((nn.AvgPool2d,), (F.avg_pool2d,))
MAX_POOL = OpSpelling((nn.MaxPool2d,), (F.max_pool2d,))
ADAPTIVE_AVERAGE_POOL = OpSpelling((nn.AdaptiveAvgPool2d,), (F.adaptive_avg_pool2d,))
LOG_SOFTMAX = OpSpelling((nn.LogSoftmax,), (F.log_softmax, torch.log_softmax), ("log_softmax",))
SOFTMAX = OpSpelling((nn.Softmax,), (F.softmax, torch.softmax), ("softmax",))
DROPOUT = OpSpelling(
    (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
)
IDENTITY = OpSpelling((nn.Identity,))
MATRIX_PRODUCT = OpSpelling((), (operator.matmul, torch.matmul, torch.bmm), ("matmul", "bmm"))
TRANSPOSE = OpSpelling((), (torch.transpose, torch.swapaxes), ("transpose", "swapaxes"))
PERMUTE = OpSpelling((), (torch.permute,), ("permute",))
RESHAPE = OpSpelling((), (torch.reshape,), ("reshape", "view"))
PAD = OpSpelling((nn.ConstantPad1d, nn.ConstantPad2d, nn.ZeroPad2d), (F.pad,))
SUM = OpSpelling((), (torch.sum,), ("sum",))

_SHAPES = OpSpelling((), (getattr,), ("size", "dim", "numel"))

# Functions of torch that have no signature: their parameters and defaults.
_POOL = {"input": None, "kernel_size": None, "stride": None, "padding": 0}
_PARAMETERS: dict[Callable[..., Any], dict[str, Any]] = {
    F.avg_pool2d: {**_POOL, "ceil_mode": False, "count_include_pad": True, "divisor_override": None},
    F.max_pool2d: {**_POOL, "dilation": 1, "ceil_mode": False, "return_indices": False},
    F.gelu: {"input": None, "approximate": "none"},
}

CONSTANT_TOLERANCE = 1e-12
"""Relative. A constant of a formula is right to float64's rounding, or it makes another function."""


def is_call(graph: GraphModule, node: Any, *written: OpSpelling) -> bool:
    """Return whether a node is a call of one of these operations."""
    if not isinstance(node, Node):
        return False
    if node.op == "call_module":
        return isinstance(module_of(graph, node), tuple(kind for way in written for kind in way.modules))
    if node.op == "call_function":
        return any(node.target is function for way in written for function in way.functions)
    return node.op == "call_method" and any(node.target in way.methods for way in written)


def works_in_place(graph: GraphModule, node: Node) -> bool:
    """Return whether a call overwrites its first argument."""
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.target in (operator.iadd, operator.imul, operator.itruediv, operator.isub):
        return True
    return bool(getattr(module_of(graph, node), "inplace", False) or arguments(graph, node).get("inplace"))


def arguments(graph: GraphModule, node: Node) -> dict[str, Any]:
    """Return what a function is called with, or a module made with, by the names of its signature.

    A module's parameters are the attributes of the same names. A method of tensors has none but those given by name.
    """
    module = module_of(graph, node)
    if module is not None:
        kinds = type(module).__mro__[: type(module).__mro__.index(nn.Module)]
        names = {name for kind in kinds for name in inspect.signature(kind.__init__).parameters}  # type: ignore[misc]
        return {name: getattr(module, name) for name in names if hasattr(module, name)}
    if node.op == "call_function":
        known = _PARAMETERS.get(node.target)  # type: ignore[arg-type]
        if known is not None:
            return known | dict(zip(known, node.args, strict=False)) | dict(node.kwargs)
        try:
            given = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
        except (TypeError, ValueError):  # one of torch's own has no signature
            return dict(node.kwargs)
        given.apply_defaults()
        return given.arguments
    return dict(node.kwargs)


def operands(graph: GraphModule, node: Any, written: OpSpelling) -> tuple[Any, Any] | None:
    """Return both operands of a binary call of `written`, or None if the node is no such call."""
    if not is_call(graph, node, written) or set(node.kwargs) - {"input", "other"}:
        return None
    both = (*node.args, *(node.kwargs[name] for name in ("input", "other") if name in node.kwargs))
    return (both[0], both[1]) if len(both) == 2 else None


def value_users(graph: GraphModule, node: Node) -> list[Node]:
    """Return the users of a node's values; those that ask for its shape alone are left out."""
    return [user for user in node.users if not is_call(graph, user, _SHAPES)]


def concatenated(joined: Node) -> list[Node] | None:
    """Return the parts of a concatenation; None where the graph does not list them."""
    parts: Any = joined.args[0] if joined.args else joined.kwargs.get("tensors")
    return list(parts) if isinstance(parts, list | tuple) and all(isinstance(part, Node) for part in parts) else None


def number(value: Any) -> float | None:
    """Return a Python number as a float; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def pair(value: Any) -> tuple[int, int]:
    """Return a length along H and W, which may be given once for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def is_close(value: float, constant: float) -> bool:
    """Return whether a number is this constant, to rounding."""
    return abs(value - constant) <= CONSTANT_TOLERANCE * abs(constant)


def shifted(graph: GraphModule, node: Any) -> tuple[Any, float] | None:
    """Return (x, c) where a node is x + c with a number c; None elsewhere."""
    both = operands(graph, node, ADD)
    if both is None or works_in_place(graph, node):
        return None
    for x, c in (both, both[::-1]):
        constant = number(c)
        if isinstance(x, Node) and constant is not None:
            return x, constant
    return None


def factors(graph: GraphModule, node: Any) -> tuple[float, list[Any]]:
    """Return the number and the tensors whose product a node is.

    Products inside that have other users stay whole, and so do those that overwrite what others see.
    """
    value = number(node)
    if value is not None:
        return value, []
    product, quotient = operands(graph, node, MULTIPLY), operands(graph, node, DIVIDE)
    divisor = number(quotient[1]) if quotient else None
    if quotient is not None and divisor:
        constant, inner = _inner_factors(graph, quotient[0])
        return constant / divisor, inner
    if product is None:
        return 1.0, [node]
    (first, left), (second, right) = (_inner_factors(graph, each) for each in product)
    return first * second, left + right


def _inner_factors(graph: GraphModule, node: Any) -> tuple[float, list[Any]]:
    if isinstance(node, Node) and (len(node.users) > 1 or overwrites_shared(graph, node)):
        return 1.0, [node]
    return factors(graph, node)


def overwrites_shared(graph: GraphModule, node: Node, but: Node | None = None) -> bool:
    """Return whether a call overwrites a tensor that others take too, and that is not `but`."""
    if not works_in_place(graph, node):
        return False
    first = _first(node)
    return len(first.users) > 1 and first is not but


def relu6_input(graph: GraphModule, node: Any) -> Any:
    """Return x where a node is min(max(x, 0), 6), or None."""
    if is_call(graph, node, RELU6):
        return _first(node)
    if is_call(graph, node, HARDTANH):
        given = arguments(graph, node)
        return _first(node) if (given["min_val"], given["max_val"]) == (0, 6) else None
    if is_call(graph, node, CLAMP):
        names = dict(zip(("min", "max"), node.args[1:], strict=False)) | dict(node.kwargs)
        return _first(node) if (names.get("min"), names.get("max")) == (0, 6) else None
    return None


def _first(node: Node) -> Any:
    return node.args[0] if node.args else node.kwargs["input"]


def replace_call(node: Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Node:
    """Put a call of `function` in a node's place; return it."""
    with node.graph.inserting_before(node):
        new = node.graph.call_function(function, args, kwargs)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)
    return new


def add_module(graph: GraphModule, node: Node, module: nn.Module, *args: Any) -> Node:
    """Put a call of a new module before a node, under a path like the node's; return it."""
    path = _free_path(graph, path_of(node))
    graph.add_submodule(path, module)
    with graph.graph.inserting_before(node):
        new = graph.graph.call_module(path, args)
    new.meta = dict(node.meta)
    return new


def replace_by_module(graph: GraphModule, node: Node, module: nn.Module, *args: Any) -> Node:
    """Put a call of a new module in a node's place, under the path of what was there; return it."""
    new = add_module(graph, node, module, *args)
    node.replace_all_uses_with(new)
    graph.graph.erase_node(node)
    return new


def _free_path(graph: GraphModule, path: str) -> str:
    """Return a path beside `path` that nothing has."""
    owner, _, name = path.rpartition(".")
    parent, count = graph.get_submodule(owner), 0
    while hasattr(parent, name if not count else f"{name}_{count}"):
        count += 1
    return path if not count else f"{path}_{count}"
