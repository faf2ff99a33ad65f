"""ONNX Runtime Web, in WebAssembly on the processor."""

from __future__ import annotations

from benchmarks.consumers.browser import open_by
from benchmarks.peers.worker import Bind, serve

_MODULES = {"onnxruntime-web": "onnxruntime-web/dist/ort.wasm.min.mjs"}
_SCRIPT = """
const ort = await import("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create("/model", { executionProviders: ["wasm"] });
const made = await session.run({ [session.inputNames[0]]: new ort.Tensor(given, shape) });
const values = made[session.outputNames[0]].data;
"""


def open_file(file: str) -> Bind:
    """Return what runs an .onnx file."""
    return open_by(_SCRIPT, _MODULES, file)


if __name__ == "__main__":
    serve(None, open_file)
