"""The task that simplifies an ONNX graph with onnxsim."""

from __future__ import annotations

from typing import Any


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Simplify `source` into `target`.

    Args:
        request: Absolute paths `source` and `target`.

    Returns:
        `nodes_before` and `nodes_after`.

    Raises:
        RuntimeError: onnxsim's own check found another output than before.
    """
    import onnx
    import onnxsim

    model = onnx.load(request["source"])
    simplified, agrees = onnxsim.simplify(model)
    if not agrees:
        raise RuntimeError("onnxsim: the simplified graph gives other outputs than the graph before")
    onnx.save(simplified, request["target"])
    return {"nodes_before": len(model.graph.node), "nodes_after": len(simplified.graph.node)}
