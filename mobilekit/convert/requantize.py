"""Ops of a TFLite file between tensors of one shape in float32, int8 and uint8."""

from __future__ import annotations

from typing import Any

from mobilekit.artifacts.tflite import add_tensor, new_op, numbers, type_of

_FLOATS = "_as_float"
"""What stands behind the name of an outer tensor in that of the float32 between it and the inner one."""


def crossing(model: Any, taken: int, made: int) -> list[Any]:
    """Return the ops that make one tensor of another in their order, which are in no graph yet.

    Between int8 and uint8 stands float32: XNNPACK runs these two ops in a seventh of the time of TFLite's own QUANTIZE
    between them, which it leaves out. With one scale the result is exact: float32 holds each step to 1 part in 2^24.

    Args:
        model: The model.
        taken: Number of a tensor of its first graph.
        made: Likewise; one of the two may be float32, or none.
    """
    tensors = model.subgraphs[0].tensors
    if type_of(tensors[taken]) == "FLOAT32":
        return [new_op(model, "QUANTIZE", [taken], made)]
    if type_of(tensors[made]) == "FLOAT32":
        return [new_op(model, "DEQUANTIZE", [taken], made)]
    outer = next(tensors[number] for number in (taken, made) if type_of(tensors[number]) == "UINT8")
    between = add_tensor(model, (outer.name or b"").decode() + _FLOATS, "FLOAT32", numbers(outer.shape))
    return [new_op(model, "DEQUANTIZE", [taken], between), new_op(model, "QUANTIZE", [between], made)]
