"""A rewritten model as an exported program."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from mobilekit.convert.flat import flat
from mobilekit.convert.program.forms import Forms, in_forms
from mobilekit.errors import ToolError, first_line
from mobilekit.models.inputs import arguments, input_names, zeros
from mobilekit.models.outputs import named_outputs
from mobilekit.models.shapes import Shapes
from mobilekit.rewrites.fx.capture import quiet

aten = torch.ops.aten


def program_of(model: GraphModule, shapes: Shapes, forms: Forms, bytes_of: Collection[str] = ()) -> ExportedProgram:
    """Return the program of a graph.

    Args:
        model: float32, in evaluation mode.
        shapes: Shapes of the inputs by name, images NCHW.
        forms: In which its steps stand.
        bytes_of: Names of the inputs that the program takes as uint8.

    Raises:
        ToolError: torch cannot export the model.
    """
    graph, names = flat(model), input_names(model)
    _take_bytes(graph, [name in bytes_of for name in names])
    examples = zeros(shapes)
    given = tuple(examples[name].to(torch.uint8) if name in bytes_of else examples[name] for name in names)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(graph, given, strict=False)
        return in_forms(program, given, forms)
    except ToolError:
        raise
    except Exception as error:  # anything may go wrong in the exporter
        raise ToolError(f"torch.export failed: {first_line(error)}.") from error


def output_names(model: GraphModule, shapes: Shapes) -> list[str]:
    """Return the names of a graph's outputs, in the order of the program's."""
    with torch.no_grad():
        return list(named_outputs(model(*arguments(model, zeros(shapes)))))


def _take_bytes(graph: GraphModule, are_bytes: Collection[bool]) -> None:
    """Turn the inputs that come as bytes into numbers, in place."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for node, is_bytes in zip(inputs, are_bytes, strict=True):
        if is_bytes:
            with graph.graph.inserting_after(inputs[-1]):
                numbers = graph.graph.call_function(aten.to.dtype, (node, torch.float32))
            node.replace_all_uses_with(numbers, delete_user_cb=lambda user, own=numbers: user is not own)
    graph.recompile()
