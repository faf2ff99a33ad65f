"""ONNX Runtime on the processor, with all its optimizations."""

from __future__ import annotations

import onnxruntime

from benchmarks.peers.worker import Bind, serve


def open_file(file: str) -> Bind:
    """Open an .onnx file."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    [taken] = session.get_inputs()
    return lambda image: lambda: session.run(None, {taken.name: image})[0]


if __name__ == "__main__":
    serve(None, open_file)
