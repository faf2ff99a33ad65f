"""Which steps of a program stay in float where it is quantized, by what a recipe's `int8` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from mobilekit.recipes.modules import is_inside
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx import ops

aten = torch.ops.aten
_DENSE = (aten.conv2d.default, aten.conv_transpose2d.input, aten.linear.default)
_NEVER = ("LayerNorm", "GroupNorm", "GELU")
"""Ends of the names of layers that are lowered as formulas, which lose all in 8 bits."""
_SEEDS = {
    "division": (aten.div.Tensor,),
    "attention": (aten.bmm.default, aten.softmax.int),
    "exponential": ops.EXPONENTIALS.targets,
    "normalization": (aten.rsqrt.default,),
}
"""Steps by the words of `keep_float`: they stay in float with all that leads to them from the dense ones before."""
_BOTH_WAYS = ("exponential", "normalization")
"""Words under which what follows, up to the dense steps after, stays in float too."""
_TENSORS = ("p_", "b_", "c_")
"""What those inputs of a program begin with that are parameters, buffers and constants of the model."""
_CONSTANT = "b_constant_"
"""What the inputs of a program begin with that our forms have added."""


def float_steps(program: ExportedProgram, int8: Int8) -> list[str]:
    """Return the names of the steps that stay in float.

    Args:
        program: In the forms that XNNPACK takes.
        int8: The recipe's.
    """
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    kept = {node for node in nodes if _is_kept(node, int8)}
    for word in int8.keep_float:
        seeds = [node for node in nodes if node.target in _SEEDS.get(word, ())]
        if word in _BOTH_WAYS:
            seeds += _between_dense(seeds, lambda node: node.users)
        kept |= {*seeds, *_between_dense(seeds, lambda node: node.all_input_nodes)}
    return [node.name for node in nodes if node in kept]


def _is_kept(node: Node, int8: Int8) -> bool:
    """Return whether a step stays in float by itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = (str(each) for each in stack[-1]) if stack else ("", "")
    sums = node.target is aten.add.Tensor and all(isinstance(each, Node) for each in node.args[:2])
    return (
        (bool(path) and is_inside(path, int8.float_modules))
        or kind.endswith(_NEVER)
        or (node.target in _DENSE and not _has_weights(node))
        or (sums and "residual-add" in int8.keep_float)
    )


def _has_weights(node: Node) -> bool:
    """Return whether a dense step multiplies by weights of the model: neither computed ones nor numbers of a form."""
    weight = node.args[1]
    return isinstance(weight, Node) and weight.name.startswith(_TENSORS) and not weight.name.startswith(_CONSTANT)


def _between_dense(seeds: Iterable[Node], neighbors: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """Return all that steps are made of, or that is made of them, up to the dense ones."""
    found, waiting = dict[Node, None](), [one for seed in seeds for one in neighbors(seed)]
    while waiting:
        node = waiting.pop()
        is_dense = node.target in _DENSE and _has_weights(node)
        if node.op == "call_function" and node not in found and not is_dense:
            found[node] = None
            waiting += neighbors(node)
    return [*found]
