"""The ONNX file that a user makes by hand, for onnx2tf and for ONNX Runtime: torch.onnx, with no rewrites."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.network import load
from benchmarks.peers.worker import serve

# onnx2tf looks for this file in its working directory before it downloads one, for every 4-D input of 3 channels.
SAMPLE_FILE = "calibration_image_sample_data_20x128x128x3_float32.npy"


def convert(model: str, weights: str, size: int, calibration: str) -> None:
    """Write model.onnx, and the calibration inputs as onnx2tf takes them (NHWC), into the working directory."""
    torch.onnx.export(
        load(model, weights),
        (torch.zeros(1, 3, size, size),),
        "model.onnx",
        input_names=["input"],
        output_names=["logits"],
        dynamo=False,
        opset_version=17,
    )
    save_inputs(np.load(calibration))


def save_inputs(calibration: np.ndarray) -> None:
    """Write calibration inputs (N, C, H, W) as onnx2tf takes them (NHWC), and the file that it would download."""
    np.save("calibration.npy", calibration.transpose(0, 2, 3, 1))
    np.save(SAMPLE_FILE, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))


if __name__ == "__main__":
    serve(convert, None)
