"""litert-torch, and ai-edge-quantizer on what it makes; runs in their environment."""

from __future__ import annotations

from pathlib import Path

import litert_torch
import numpy as np
import torch

from benchmarks.peers.network import load
from benchmarks.peers.worker import serve


def convert(model: str, weights: str, size: int, calibration: str, precision: str) -> None:
    """Write model.tflite, its input NHWC as in the other .tflite files, into the working directory."""
    network = litert_torch.to_channel_last_io(load(model, weights), args=[0])
    converted = litert_torch.convert(network.eval(), (torch.zeros(1, size, size, 3),))
    converted.export("model.tflite")
    if precision == "dynamic":
        round_weights()
    if precision == "int8":
        quantize(np.load(calibration).transpose(0, 2, 3, 1))


def round_weights() -> None:
    """Write model.dynamic.tflite beside model.tflite."""
    from ai_edge_quantizer import quantizer, recipe

    content = quantizer.Quantizer("model.tflite", recipe.dynamic_wi8_afp32()).quantize().quantized_model
    Path("model.dynamic.tflite").write_bytes(content)


def quantize(inputs: np.ndarray) -> None:
    """Write model.int8.tflite beside model.tflite, calibrated on inputs (N, ...) as that takes them."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    signature, runner = next(iter(Interpreter("model.tflite").get_signature_list().items()))
    [name] = runner["inputs"]
    tool = quantizer.Quantizer("model.tflite", recipe.static_wi8_ai8())
    ranges = tool.calibrate({signature: [{name: np.ascontiguousarray(inputs[i : i + 1])} for i in range(len(inputs))]})
    content = tool.quantize(ranges).quantized_model
    Path("model.int8.tflite").write_bytes(content)


if __name__ == "__main__":
    serve(convert, None)
