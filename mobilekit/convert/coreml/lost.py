"""What coremltools would lose of a program without a word."""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from mobilekit.convert.program.graph import given
from mobilekit.errors import ToolError

_READ = {"addmm": ("alpha", "beta"), "baddbmm": ("alpha", "beta"), "div": ("rounding_mode",)}
"""Keywords that coremltools 9 reads of a step, by the operator; of all others it forgets what they say."""
_CASTS = ("_to_copy", "arange", "full", "ones", "zeros", "scalar_tensor")
"""Operators of which it reads the format."""
_OF_MEMORY = ("device", "layout", "memory_format", "pin_memory")
_THRESHOLD = 20
"""Of softplus, from which on PyTorch leaves values as they are: there both differ by 2e-9."""


def check_kept(program: ExportedProgram) -> None:
    """See that coremltools reads all that a program says.

    Args:
        program: As it is converted, decomposed.

    Raises:
        ToolError: It would lose something.
    """
    for node in program.graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema") and (what := _lost(node)):
            stack = [*(node.meta.get("nn_module_stack") or {}).values()]
            where = f" in {stack[-1][0]}" if stack and stack[-1][0] else ""
            raise ToolError(
                f"coremltools would lose {what}{where}, without a word.",
                "Write that step in another way in the model, or leave mlpackage out of --precision.",
            )


def _lost(node: Node) -> str | None:
    """Return what would be lost of a step, in words; None where nothing is."""
    name = node.target._schema.name.partition("::")[2]  # type: ignore[union-attr]
    defaults = {each.name: each.default_value for each in node.target._schema.arguments if each.has_default_value()}  # type: ignore[union-attr]
    for keyword, value in node.kwargs.items():
        is_read = keyword in (*_READ.get(name, ()), *_OF_MEMORY)
        if keyword == "dtype":
            is_read = name in _CASTS or all(each.meta["val"].dtype is value for each in node.all_input_nodes)
        if not is_read and value != defaults.get(keyword):
            return f"{keyword}={value} of {name}"
    if name == "softplus" and given(node)["threshold"] < _THRESHOLD:
        return f"threshold={given(node)['threshold']:g} of {name}"
    return None
