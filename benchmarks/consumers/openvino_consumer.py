"""OpenVINO on the processor."""

from __future__ import annotations

import openvino  # type: ignore[import-not-found]

from benchmarks.peers.worker import Bind, serve


def open_file(file: str, **settings: str) -> Bind:
    """Open an .onnx or .tflite file.

    Args:
        file: Its path.
        settings: OpenVINO's own.
    """
    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **settings})
    return lambda image: lambda: model([image])[model.output(0)]


if __name__ == "__main__":
    serve(None, open_file)
