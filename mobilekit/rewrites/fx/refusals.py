"""What torch.export takes and a file for phones cannot hold, refused with the user's line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.errors import UsageError, first_line

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


def refuse_free_sizes(graph: GraphModule) -> None:
    """Refuse a value whose shape depends on other values, as `x[x > 0]`.

    Raises:
        UsageError: With the line.
    """
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        sizes = value.shape if isinstance(value, torch.Tensor) else ()
        if any(isinstance(size, torch.SymInt) and re.match(r"u\d", str(size)) for size in sizes):
            raise UsageError(
                f"The shape of a tensor depends on values{place_of(node)}.",
                "A file for phones has fixed shapes: keep all values and mask them (torch.where), or leave this step "
                "to the app.",
            )


def refuse_changes(graph: GraphModule) -> None:
    """Refuse a model that changes a parameter or buffer of its own while it runs.

    Raises:
        UsageError: With the line.
    """
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable and str(node.target) != "aten.batch_norm.default":
            raise UsageError(
                f"The model changes a tensor in place{place_of(node)}, in a way that cannot be exported.",
                "Compute a new tensor there.",
            )


def place_of(node: Node) -> str:
    """Return where in the user's code a node is from: ` at FILE:LINE: SOURCE`; empty where it is not known."""
    frames = [frame for frame in _FRAME.finditer(node.meta.get("stack_trace") or "") if _is_users(frame["file"])]
    return f" at {frames[-1]['file']}:{frames[-1]['line']}: {frames[-1]['source']}" if frames else ""


def _is_users(file: str) -> bool:
    return "/torch/" not in file and not file.startswith(_PACKAGE) and not file.startswith("<")
