"""Steps of a program in other forms: the same function, which a run in float64 proves of each program.

Where sums stand in another order, float32 rounds them otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from mobilekit.convert.program.folded import fold_constants
from mobilekit.convert.program.graph import Writer
from mobilekit.errors import ToolError
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.rewrites.fx.precision import compute_in

Form = Callable[[Writer, Node], Node | None]
"""Returns what stands for a step; None where it stays."""
_AGREES = 1e-9
"""Relative distance of two float64 runs, as of the proofs of rewrites."""


@dataclass(frozen=True)
class Forms:
    """What a compiler is given in other forms."""

    tool: str
    """Its name."""
    table: Mapping[Any, Form]
    """By the operator of a step."""
    of_several: Mapping[Any, Form] = field(default_factory=dict)
    """Of steps that are one function together, by the operator of the last; they come first."""


def in_forms(program: ExportedProgram, inputs: tuple[torch.Tensor, ...], forms: Forms) -> ExportedProgram:
    """Return a program in which steps stand in other forms, and tensors where steps take those of the model alone.

    Args:
        program: It.
        inputs: Examples of what it takes.
        forms: Which.

    Raises:
        ToolError: A form is another function, or torch cannot export the program again.
    """
    with quiet(), torch.no_grad():
        before = program.module(check_guards=False)
        graph = copy.deepcopy(before)
        _rewrite(graph, forms.of_several)
        _rewrite(graph, forms.table)
        if graph.code != before.code:
            _prove(before, graph, inputs, forms.tool)
        fold_constants(graph.float())
        if graph.code == before.code:
            return program
        return torch.export.export(graph, inputs, strict=False)


def _rewrite(graph: GraphModule, table: Mapping[Any, Form]) -> None:
    """Put forms in the place of steps."""
    for node in list(graph.graph.nodes):
        form = table.get(node.target) if node.op == "call_function" else None
        made = form(Writer(graph, node), node) if form and node.users else None
        if made is not None:
            node.replace_all_uses_with(made)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _prove(before: GraphModule, after: GraphModule, inputs: tuple[torch.Tensor, ...], tool: str) -> None:
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
                f"A form for {tool} is another function: {distance:.2g} in float64, of {scale:.2g}.",
                "This is a fault of mobilekit: report it with the model.",
            )
