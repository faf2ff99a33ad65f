"""A program that computes in float16, and takes and gives float32."""

from __future__ import annotations

import copy

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from mobilekit.convert.program.graph import is_float
from mobilekit.errors import ToolError, first_line
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.rewrites.fx.precision import compute_in, name_dtypes

aten = torch.ops.aten


def in_float16(program: ExportedProgram) -> ExportedProgram:
    """Return a program whose weights and values are float16, between casts at its ends.

    Args:
        program: float32, as it is lowered.

    Raises:
        ToolError: torch cannot export it again.
    """
    inputs = program.example_inputs[0]
    try:
        with quiet(), torch.no_grad():
            module = copy.deepcopy(program.module(check_guards=False))
            name_dtypes(module)
            graph = compute_in(module, torch.float16).graph
            *_, last = (node for node in graph.nodes if node.op == "placeholder")
            for node in [node for node in graph.nodes if node.op == "placeholder" and is_float(node)]:
                with graph.inserting_after(last):
                    halved = graph.call_function(aten.to.dtype, (node, torch.float16))
                node.replace_all_uses_with(halved, delete_user_cb=lambda user, own=halved: user is not own)
            output = graph.output_node()
            with graph.inserting_before(output):
                output.args = map_arg(output.args, _widened)
            module.recompile()
            return torch.export.export(module, inputs, strict=False)
    except Exception as error:  # anything may go wrong in the exporter
        raise ToolError(f"torch.export failed in float16: {first_line(error)}.") from error


def _widened(node: Node) -> Node:
    return node.graph.call_function(aten.to.dtype, (node, torch.float32)) if is_float(node) else node
