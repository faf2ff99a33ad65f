"""Steps of a program in forms that XNNPACK's partitioner of ExecuTorch takes, and in which it computes them rightly.

What it does not take it says nothing of: the graph is cut there. Each form is the same function, which a run in float64
proves of each program; where sums stand in another order, float32 rounds them otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from mobilekit.convert.executorch.arithmetic_forms import (
    CLAMPS,
    float_number,
    gelu,
    layer_norm,
    matmul,
    mean,
    one_clamp,
    softmax,
    sum_of,
)
from mobilekit.convert.executorch.graph import Writer
from mobilekit.convert.executorch.map_forms import adaptive_pool, average_pool, bilinear, nearest
from mobilekit.convert.executorch.shape_forms import (
    constant,
    copies,
    expanded,
    negative_pad,
    nothing,
    other_view,
    parts,
    selected,
)
from mobilekit.errors import ToolError
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.rewrites.fx.precision import compute_in

aten = torch.ops.aten
Form = Callable[[Writer, Node], Node | None]
"""Returns what stands for a step; None where it stays."""
_AGREES = 1e-9
"""Relative distance of two float64 runs, as of the proofs of rewrites."""

_NOTHING = (
    *(aten.slice.Tensor, aten.alias.default, aten.clone.default, aten.contiguous.default, aten.dropout.default),
    *(aten.feature_dropout.default, aten.detach.default, aten.lift_fresh_copy.default),
)
"""What may do nothing: a slice of everything, a copy, a dropout at inference."""
_FORMS: dict[Any, Form] = {
    aten.cat.default: copies,
    aten.adaptive_avg_pool2d.default: adaptive_pool,
    aten.avg_pool2d.default: average_pool,
    aten.mean.dim: mean,
    aten.sum.dim_IntList: sum_of,
    aten.upsample_nearest2d.vec: nearest,
    aten.upsample_bilinear2d.vec: bilinear,
    aten.matmul.default: matmul,
    aten.layer_norm.default: layer_norm,
    aten.softmax.int: softmax,
    aten.gelu.default: gelu,
    aten.expand.default: expanded,
    aten.select.int: selected,
    **dict.fromkeys(_NOTHING, nothing),
    **dict.fromkeys((aten.pad.default, aten.constant_pad_nd.default), negative_pad),
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default), parts),
    **dict.fromkeys(
        (aten.unsqueeze.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.flatten.using_ints),
        other_view,
    ),
    **dict.fromkeys(CLAMPS, one_clamp),
    **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor), float_number),
    **dict.fromkeys((aten.full.default, aten.ones.default, aten.zeros.default, aten.arange.start_step), constant),
}


def in_forms(program: ExportedProgram, inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """Return a program in which XNNPACK's partitioner takes what can be written for it.

    Args:
        program: It.
        inputs: Examples of what it takes.

    Raises:
        ToolError: A form is another function, or torch cannot export the program again.
    """
    with quiet(), torch.no_grad():
        before = program.module(check_guards=False)
        graph = copy.deepcopy(before)
        _rewrite(graph)
        if graph.code == before.code:
            return program
        _prove(before, graph, inputs)
        return torch.export.export(graph.float(), inputs, strict=False)


def _rewrite(graph: GraphModule) -> None:
    """Put forms in the place of steps."""
    for node in list(graph.graph.nodes):
        form = _FORMS.get(node.target) if node.op == "call_function" else None
        made = form(Writer(graph, node), node) if form and node.users else None
        if made is not None:
            node.replace_all_uses_with(made)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _prove(before: GraphModule, after: GraphModule, inputs: tuple[torch.Tensor, ...]) -> None:
    """See that two graphs give the same in float64.

    Raises:
        ToolError: They do not.
    """
    generator = torch.Generator().manual_seed(0)
    given = tuple(
        torch.randn(each.shape, generator=generator, dtype=torch.float64)
        if each.is_floating_point()
        else torch.randint(0, 256, each.shape, generator=generator).to(each.dtype)
        for each in inputs
    )
    old, new = (compute_in(copy.deepcopy(graph), torch.float64)(*given) for graph in (before, after))
    for one, other in zip(old, new, strict=True):
        one, other = one.double(), other.double()
        same = (one == other) | (one.isnan() & other.isnan())
        distance = float((one - other).masked_fill(same, 0.0).abs().max())
        scale = float(one.nan_to_num(0.0, 0.0, 0.0).abs().max())
        if not distance <= _AGREES * max(scale, 1.0):
            raise ToolError(
                f"A form for ExecuTorch is another function: {distance:.2g} in float64, of {scale:.2g}.",
                "This is a fault of mobilekit: report it with the model.",
            )
