"""What torch.export takes and a file for phones cannot hold, refused with the user's line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.errors import UsageError, first_line
from mobilekit.rewrites.fx.constants import needing_input

aten = torch.ops.aten

_HARMLESS = (aten.detach_.default, aten.batch_norm.default)
"""What its schema says may change a tensor, and does not in evaluation."""
_UNKNOWN = re.compile(r"\bz?u[f]?\d")
"""How torch.export names a number that it cannot know."""
_PACKAGE = str(Path(__file__).parents[2])
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in .*\n\s*(?P<source>.*)')


def refusal(model: nn.Module, error: Exception) -> UsageError:
    """Return in two lines why a model cannot be exported, with the line of the user's code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    words = re.split(r"\s*\(unhinted|\s*\(Size-like", first_line(error))[0].rstrip(". ")
    branches = "GuardOnDataDependentSymNode" in type(error).__name__
    why = "its Python code asks for the value of a tensor" if branches else words
    return UsageError(
        f"{type(model).__name__} cannot be exported{place} ({why}).",
        "An exported model cannot branch on the values of its tensors, nor turn them into Python numbers: "
        "compute with tensors there (torch.where), or decide before the model is made.",
    )


def refuse_values(graph: GraphModule) -> None:
    """Refuse a number that the model's code takes from a tensor, and a shape that depends on values, as `x[x > 0]`.

    Raises:
        UsageError: With the line.
    """
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool) and _UNKNOWN.match(str(value)):
            raise UsageError(
                f"The model's Python code asks for the value of a tensor{place_of(node)}.",
                "Compute with tensors there, or decide before the model is made.",
            )
        sizes = value.shape if isinstance(value, torch.Tensor) else ()
        if any(isinstance(size, torch.SymInt) and _UNKNOWN.search(str(size)) for size in sizes):
            raise UsageError(
                f"The shape of a tensor depends on values{place_of(node)}.",
                "A file for phones has fixed shapes: keep all values and mask them (torch.where), or leave this step "
                "to the app.",
            )


def refuse_half_floats(graph: GraphModule) -> None:
    """Refuse what is computed in half floats: no sum order is right to the last bit there, and no budget holds.

    Raises:
        UsageError: With the line.
    """
    for node in needing_input(graph):
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
            name = str(value.dtype).removeprefix("torch.")
            raise UsageError(
                f"The model computes in {name}{place_of(node)}.",
                "Let it compute in float32 (model.float(), no autocast): `--precision float16` makes the smaller file.",
            )


def refuse_changed_state(graph: GraphModule) -> None:
    """Refuse a model that changes a parameter or buffer of its own while it runs.

    Raises:
        UsageError: With the name and the line.
    """
    for node in graph.graph.nodes:
        if not changes_in_place(node):
            continue
        state = _base(node.args[0])
        if state.op == "get_attr" and not str(state.target).startswith("lifted_tensor"):
            raise UsageError(
                f"The model changes its own {state.target} as it runs{place_of(node)}.",
                "A file for phones keeps nothing from one image to the next: leave the change out in evaluation, or "
                "make it an input and an output.",
            )


def refuse_changes(graph: GraphModule) -> None:
    """Refuse what still changes a tensor in place in a functional graph.

    Raises:
        UsageError: With the line.
    """
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable and node.target not in _HARMLESS:
            raise refused_change(node)


def refused_change(node: Node) -> UsageError:
    """Return that a tensor is changed in place in a way that has no functional form here."""
    return UsageError(
        f"The model changes a tensor in place{place_of(node)}, in a way that cannot be exported.",
        "Compute a new tensor there.",
    )


def changes_in_place(node: Node) -> bool:
    """Return whether a call changes its first argument, and does more than detach it."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable or node.target in _HARMLESS or not node.args:
        return False
    first = schema.arguments[0].alias_info
    return first is not None and first.is_write and isinstance(node.args[0], Node)


def is_view(node: Node) -> bool:
    """Return whether a call's result shares memory with its input."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(each.alias_info and not each.alias_info.is_write for each in schema.returns)


def _base(node: Node) -> Node:
    """Return what a value is a view or a changed form of."""
    while node.op == "call_function" and (is_view(node) or changes_in_place(node)) and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def place_of(node: Node) -> str:
    """Return where in the user's code a node is from: ` at FILE:LINE: SOURCE`; empty where it is not known."""
    frames = [frame for frame in _FRAME.finditer(node.meta.get("stack_trace") or "") if _is_users(frame["file"])]
    return f" at {frames[-1]['file']}:{frames[-1]['line']}: {frames[-1]['source']}" if frames else ""


def _is_users(file: str) -> bool:
    return "/torch/" not in file and not file.startswith(_PACKAGE) and not file.startswith("<")
