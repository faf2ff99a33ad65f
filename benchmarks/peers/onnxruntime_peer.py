"""ONNX Runtime, with all its optimizations, and its static quantization; runs in its environment."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.peers.worker import Bind, Floats, serve


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, inputs: Floats) -> None:
        self.left = ({"input": inputs[i : i + 1]} for i in range(len(inputs)))

    def get_next(self) -> dict[str, Floats] | None:
        return next(self.left, None)


def convert(calibration: str) -> None:
    """Make model.int8.onnx of the model.onnx in the working directory: int8, per channel, QDQ."""
    quant_pre_process("model.onnx", "prepared.onnx")
    quantization.quantize_static(
        "prepared.onnx",
        "model.int8.onnx",
        _Reader(np.load(calibration)),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def open_file(file: str) -> Bind:
    """Open an .onnx file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda array: lambda: session.run(None, {"input": array})[0]


if __name__ == "__main__":
    serve(convert, open_file)
