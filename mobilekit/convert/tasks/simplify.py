"""The task that simplifies an ONNX graph with onnxsim."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import onnx


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package that was not imported before seem to be not installed while the block lasts."""
    modules = cast(dict[str, Any], sys.modules)
    if package in modules:
        yield
        return
    modules[package] = None  # an import of it fails, says Python's reference
    try:
        yield
    finally:
        del modules[package]


with _without("torch"):  # onnxsim 0.8.1 tries it, for a bridge to another tool: 1.6 s and 460 MB
    import onnxsim


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Simplify `source` into `target`.

    Args:
        request: Absolute paths `source` and `target`.

    Returns:
        `nodes_before` and `nodes_after`.

    Raises:
        RuntimeError: onnxsim's own check found another output than before.
    """
    model = onnx.load(request["source"])
    simplified, agrees = onnxsim.simplify(model)
    if not agrees:
        raise RuntimeError("onnxsim: the simplified graph gives other outputs than the graph before")
    onnx.save(simplified, request["target"])
    return {"nodes_before": len(model.graph.node), "nodes_after": len(simplified.graph.node)}
