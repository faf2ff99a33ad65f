"""A reference with the roundings of a number format, step by step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule

from mobilekit.artifacts.runtime import Arrays, as_output, is_label
from mobilekit.parity.bisect.layouts import Floats
from mobilekit.parity.bisect.onnx_steps import OnnxSteps
from mobilekit.parity.bisect.steps import TorchSteps
from mobilekit.parity.bisect.tolerance import Yardstick
from mobilekit.parity.ledger.format_error import DYNAMIC_LEAST
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import FormatError
from mobilekit.parity.ledger.rounding import (
    round_to_256_steps,
    round_to_int16,
    round_weights_to_float16,
    round_weights_to_int8,
)
from mobilekit.store.stages import Precision

_ROUNDINGS = {"dynamic": round_to_256_steps, "int8": round_to_256_steps, "int16x8": round_to_int16}
"""Of the values, by the precision."""
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def torch_yardstick(graph: GraphModule, precision: Precision, inputs: Arrays) -> Yardstick:
    """Return the yardstick for a candidate of a precision, with a torch.fx graph as the reference.

    Args:
        graph: float32, in evaluation mode; left as it is.
        precision: `float32`, `float16`, `dynamic`, `int8` or `int16x8`.
        inputs: One of each input, float32 (1, ...) by name.
    """
    exact = TorchSteps(graph, inputs)
    if precision == "float32":
        return Yardstick(exact)
    rounded = copy.deepcopy(graph)
    if precision == "float16":
        round_weights_to_float16(rounded)
    else:
        round_weights_to_int8(rounded, DYNAMIC_LEAST if precision == "dynamic" else 1)
    output_hook = _ROUNDINGS.get(precision)
    return Yardstick(exact, TorchSteps(rounded, inputs, output_hook), output_hook if precision == "dynamic" else None)


def onnx_yardstick(model: Any, precision: Precision, inputs: Arrays) -> Yardstick:
    """Return the same with an onnx.ModelProto as the reference."""
    exact = OnnxSteps(model, inputs)
    if precision == "float32":
        return Yardstick(exact)
    output_hook = _of_arrays(_ROUNDINGS.get(precision))
    rounded = OnnxSteps(_with_rounded_weights(model, precision), inputs, output_hook)
    return Yardstick(exact, rounded, output_hook if precision == "dynamic" else None)


def onnx_format_errors(model: Any, inputs: Arrays, precision: Precision) -> dict[str, FormatError]:
    """Return what the formats do to each output of an ONNX model, as `noise.measure_format_errors` does for PyTorch's.

    ONNX Runtime has no float64 kernels for many nodes. So float32's own noise is simulated as well: each value that a
    node makes is moved by a half of its last place, 2^-24, at random, and that twice over as sums round many times.

    Args:
        model: An onnx.ModelProto.
        inputs: float32 (N, ...) by name.
        precision: `int16x8` is simulated where it is this one, the others in any case.
    """
    generator = np.random.default_rng(0)

    def jitter(array: Floats) -> Floats:
        return (array * (1 + 2.0**-23 * generator.uniform(-1, 1, array.shape))).astype(np.float32)

    exact = _outputs(model, inputs, None)
    changes = {
        "float32": _outputs(model, inputs, jitter),
        "float16": _outputs(_with_rounded_weights(model, "float16"), inputs, None),
        "dynamic": _outputs(_with_rounded_weights(model, "dynamic"), inputs, _of_arrays(round_to_256_steps)),
        "int8": _outputs(_with_rounded_weights(model, "int8"), inputs, _of_arrays(round_to_256_steps)),
    }
    if precision == "int16x8":
        changes[precision] = _outputs(_with_rounded_weights(model, precision), inputs, _of_arrays(round_to_int16))
    errors = {}
    for name, truth in exact.items():
        metrics = {key: compare(truth, outputs[name]) for key, outputs in changes.items()}
        errors[name] = FormatError(
            float32_max_abs=metrics["float32"].max_abs,
            float32_relative_l2=metrics["float32"].relative_l2,
            scale=float(np.abs(truth).max()),
            float16_relative_l2=metrics["float16"].relative_l2,
            dynamic_relative_l2=metrics["dynamic"].relative_l2,
            int8_relative_l2=metrics["int8"].relative_l2,
            int8_fitted_relative_l2=metrics["int8"].relative_l2,
            int16x8_relative_l2=metrics[precision].relative_l2 if precision == "int16x8" else 0.0,
            labels=truth.size if is_label(truth) else None,
        )
    return errors


def _outputs(model: Any, inputs: Arrays, output_hook: Callable[[Floats], Floats] | None) -> Arrays:
    """Return the outputs for each of N inputs."""
    rows = []
    for number in range(len(next(iter(inputs.values())))):
        steps = OnnxSteps(model, {name: array[number : number + 1] for name, array in inputs.items()}, output_hook)
        rows.append([as_output(steps.at(name)) for name in steps.outputs])
    return {name: np.concatenate(column) for name, column in zip(steps.outputs, zip(*rows, strict=True), strict=True)}


def _of_arrays(rounding: Callable[[torch.Tensor], torch.Tensor] | None) -> Callable[[Floats], Floats] | None:
    """Return a rounding of tensors as one of arrays."""
    return (lambda array: rounding(torch.from_numpy(np.ascontiguousarray(array))).numpy()) if rounding else None


def _with_rounded_weights(model: Any, precision: Precision) -> Any:
    """Return a copy with rounded constants: all in float16, layers' weights in 8 bits by scales of output channels."""
    from onnx import numpy_helper

    copied = copy.deepcopy(model)
    axes = {
        node.input[1]: -1 if node.op_type == "MatMul" or (node.op_type == "Gemm" and not _transposed(node)) else 0
        for node in copied.graph.node
        if node.op_type in _LAYERS
    }
    for one in copied.graph.initializer:
        weights = numpy_helper.to_array(one)
        if weights.dtype != np.float32 or (one.name not in axes and precision != "float16"):
            continue
        if precision == "float16":
            largest = np.finfo(np.float16).max
            rounded = weights.clip(-largest, largest).astype(np.float16).astype(np.float32)
        elif precision == "dynamic" and weights.size < DYNAMIC_LEAST:
            continue
        else:
            rounded = _round_channels(weights, axes[one.name])
        one.CopyFrom(numpy_helper.from_array(rounded, one.name))
    return copied


def _transposed(gemm: Any) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in gemm.attribute)


def _round_channels(weights: Floats, axis: int) -> Floats:
    channels = np.moveaxis(weights, axis, 0)
    largest = np.abs(channels).reshape(len(channels), -1).max(1).reshape(-1, *[1] * (channels.ndim - 1))
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny)
    return np.ascontiguousarray(np.moveaxis(np.round(channels / scale) * scale, 0, axis), np.float32)
