"""What a node of the graph computes: each operation has one spelling, an operator of ATen or a layer of torch's."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import module_of, path_of

aten = torch.ops.aten


class Op(NamedTuple):
    """One operation: the operators that compute it, and the layers whose calls stay whole."""

    targets: tuple[Any, ...] = ()
    layers: tuple[type[nn.Module], ...] = ()


SIGMOID = Op((aten.sigmoid.default,))
HARD_SIGMOID = Op((aten.hardsigmoid.default,))
SILU = Op((aten.silu.default,))
HARD_SWISH = Op((aten.hardswish.default,))
GELU = Op((aten.gelu.default,))
RELU = Op((aten.relu.default,))
LEAKY_RELU = Op((aten.leaky_relu.default,))
CLAMP = Op((aten.clamp.default,))
MULTIPLY = Op((aten.mul.Tensor,))
DIVIDE = Op((aten.div.Tensor,))
ADD = Op((aten.add.Tensor,))
SUBTRACT = Op((aten.sub.Tensor,))
NEGATE = Op((aten.neg.default,))
NEAREST = Op((aten.upsample_nearest2d.vec,))
BILINEAR = Op((aten.upsample_bilinear2d.vec,))
INTERPOLATE = Op(
    (
        aten.upsample_nearest1d.vec,
        aten.upsample_nearest2d.vec,
        aten._upsample_nearest_exact2d.vec,
        aten.upsample_linear1d.vec,
        aten.upsample_bilinear2d.vec,
        aten.upsample_bicubic2d.vec,
    )
)
CONCATENATE = Op((aten.cat.default,))
STACK = Op((aten.stack.default,))
AVERAGE_POOL = Op((aten.avg_pool2d.default,))
MAX_POOL = Op((aten.max_pool2d.default,))
ADAPTIVE_AVERAGE_POOL = Op((aten.adaptive_avg_pool2d.default,))
LOG_SOFTMAX = Op((aten.log_softmax.int,))
SOFTMAX = Op((aten.softmax.int,))
DROPOUT = Op(
    (
        aten.dropout.default,
        aten.feature_dropout.default,
        aten.alpha_dropout.default,
        aten.feature_alpha_dropout.default,
    ),
    (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
)
MATRIX_PRODUCT = Op((aten.matmul.default, aten.bmm.default, aten.mm.default))
TRANSPOSE = Op((aten.transpose.int,))
PERMUTE = Op((aten.permute.default,))
RESHAPE = Op((aten.reshape.default,))
FLATTEN = Op((aten.flatten.using_ints,))
UNFLATTEN = Op((aten.unflatten.int,))
PAD = Op((aten.pad.default,))
SUM = Op((aten.sum.dim_IntList,))
MEAN = Op((aten.mean.dim,))
SLICE = Op((aten.slice.Tensor,))
WHOLE = Op((aten.alias.default,))
"""A slice that takes all, as torch.export writes it."""
SPLIT = Op((aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default))
PART = Op((operator.getitem,))
"""One of the results of an operation that has several."""
UNSQUEEZE = Op((aten.unsqueeze.default,))
SQUEEZE = Op((aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims))
EXPAND = Op((aten.expand.default, aten.expand_as.default))
EXP = Op((aten.exp.default,))
EXPONENTIALS = Op(
    (
        aten.exp.default,
        aten.log.default,
        aten.log1p.default,
        aten.expm1.default,
        aten.softplus.default,
        aten.mish.default,
        aten.logsumexp.default,
        aten.log_sigmoid.default,
        aten.cumsum.default,
    )
)
"""Exponentials, logarithms and running sums: for what goes in, or comes out, 8 bits are too few."""
SOFTPLUS = Op((aten.softplus.default,))
SQUARE_ROOT = Op((aten.sqrt.default,))
LAYER_NORM = Op((aten.layer_norm.default,), (nn.LayerNorm,))
GROUP_NORM = Op((aten.group_norm.default,), (nn.GroupNorm,))
CHANNEL_SHUFFLE = Op((aten.channel_shuffle.default, aten.native_channel_shuffle.default))

SIZE = Op((aten.sym_size.int,))

_MODES = {
    aten.upsample_nearest1d.vec: "nearest",
    aten.upsample_nearest2d.vec: "nearest",
    aten._upsample_nearest_exact2d.vec: "nearest-exact",
    aten.upsample_linear1d.vec: "linear",
    aten.upsample_bilinear2d.vec: "bilinear",
    aten.upsample_bicubic2d.vec: "bicubic",
}

CONSTANT_TOLERANCE = 1e-12
"""Relative. A constant of a formula is right to float64's rounding, or it makes another function."""


def is_call(graph: GraphModule, node: Any, *ops: Op) -> bool:
    """Return whether a node is a call of one of these operations."""
    if not isinstance(node, Node):
        return False
    if node.op == "call_module":
        return isinstance(module_of(graph, node), tuple(kind for op in ops for kind in op.layers))
    return node.op == "call_function" and any(node.target is target for op in ops for target in op.targets)


def arguments(graph: GraphModule, node: Node) -> dict[str, Any]:
    """Return what an operator is called with, by the names of its schema, or what a layer was made with.

    The first argument is left out. Upsamplings have `mode`, and `size` and `scale_factor` as a user gives them.
    """
    module = module_of(graph, node)
    if module is not None:
        return {name: value for name, value in vars(module).items() if not name.startswith("_")}
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return dict(node.kwargs)
    names = [argument.name for argument in schema.arguments]
    given = {argument.name: argument.default_value for argument in schema.arguments}
    given |= dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    del given[names[0]]
    if node.target in _MODES:
        return {
            **given,
            "mode": _MODES[node.target],
            "size": given.pop("output_size"),
            "scale_factor": given.pop("scale_factors"),
        }
    return given


def operands(graph: GraphModule, node: Any, op: Op) -> tuple[Any, Any] | None:
    """Return both operands of a binary call of `op`, or None if the node is no such call."""
    if not is_call(graph, node, op) or node.kwargs or len(node.args) != 2:
        return None
    return node.args[0], node.args[1]


def value_users(graph: GraphModule, node: Node) -> list[Node]:
    """Return the users of a node's values; those that ask for its shape alone are left out."""
    return [user for user in node.users if not is_call(graph, user, SIZE)]


def concatenated(joined: Node) -> list[Node]:
    """Return the parts of a concatenation."""
    parts: Any = joined.args[0]
    return list(parts)


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
    if both is None:
        return None
    for x, c in (both, both[::-1]):
        constant = number(c)
        if isinstance(x, Node) and constant is not None:
            return x, constant
    return None


def factors(graph: GraphModule, node: Any) -> tuple[float, list[Any]]:
    """Return the number and the tensors whose product a node is.

    Products inside that have other users stay whole.
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
    if isinstance(node, Node) and len(node.users) > 1:
        return 1.0, [node]
    return factors(graph, node)


def relu6_input(graph: GraphModule, node: Any) -> Any:
    """Return x where a node is min(max(x, 0), 6), or None."""
    if not is_call(graph, node, CLAMP):
        return None
    given = arguments(graph, node)
    return node.args[0] if (given["min"], given["max"]) == (0, 6) else None


def least_of(graph: GraphModule, node: Any) -> float | None:
    """Return the number that a clamp keeps its values above; None where there is none."""
    return number(arguments(graph, node)["min"]) if is_call(graph, node, CLAMP) else None


def insert_call(node: Node, target: Any, *args: Any, **kwargs: Any) -> Node:
    """Put a call of an operator before a node, as a part of its module; return it."""
    with node.graph.inserting_before(node):
        name = target._schema.name.split("::")[1]
        new = node.graph.create_node("call_function", target, args, kwargs, name=name)
    new.meta = {key: value for key, value in node.meta.items() if key not in ("val", "tensor_meta")}
    return new


def replace_call(node: Node, target: Any, *args: Any, **kwargs: Any) -> Node:
    """Put a call of an operator in a node's place; return it."""
    new = insert_call(node, target, *args, **kwargs)
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
    count = 0
    while _is_taken(graph, path if not count else f"{path}_{count}"):
        count += 1
    return path if not count else f"{path}_{count}"


def _is_taken(graph: GraphModule, path: str) -> bool:
    """Return whether something has a path. A module without weights may be gone, with all that it was in."""
    owner: object = graph
    for name in path.split("."):
        if not hasattr(owner, name):
            return False
        owner = getattr(owner, name)
    return True
