"""MNN, with its own converter."""

from __future__ import annotations

import sys
from pathlib import Path

import MNN  # type: ignore[import-not-found]
import numpy as np

from benchmarks.consumers.tool import run_tool
from benchmarks.peers.worker import Bind, serve

_CONVERT = "from MNN.tools.mnnconvert import main; main()"


def open_file(file: str) -> Bind:
    """Convert an .onnx or .tflite file in the working directory, and open what came of it."""
    kind = {".onnx": "ONNX", ".tflite": "TFLITE"}[Path(file).suffix]
    options = ["-f", kind, "--modelFile", file, "--MNNModel", "model.mnn"]
    run_tool("MNN's converter", [sys.executable, "-c", _CONVERT, *options], "model.mnn")
    net = MNN.Interpreter("model.mnn")
    session = net.createSession({"backend": "CPU", "numThread": 1, "precision": "high"})
    taken, made = net.getSessionInput(session), net.getSessionOutput(session)

    def run(image: np.ndarray) -> np.ndarray:
        floats = np.asarray(image, np.float32)  # its Python has no tensors of int8
        taken.copyFrom(MNN.Tensor(floats.shape, MNN.Halide_Type_Float, floats, taken.getDimensionType()))
        if code := net.runSession(session):
            raise SystemExit(f"MNN stops with {code}")
        shape = made.getShape()
        if not all(shape):
            raise SystemExit("MNN finds no shape for the output")
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), made.getDimensionType())
        made.copyToHostTensor(host)
        return np.array(host.getNumpyData()).reshape(1, -1)

    return lambda image: lambda: run(image)


if __name__ == "__main__":
    serve(None, open_file)
