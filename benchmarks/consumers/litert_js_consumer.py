"""LiteRT.js, in WebAssembly on the processor."""

from __future__ import annotations

from benchmarks.consumers.browser import open_by
from benchmarks.peers.worker import Bind, serve

_MODULES = {
    "@litertjs/core": "@litertjs/core/dist/index.js",
    "@litertjs/wasm-utils": "@litertjs/wasm-utils/dist/index.js",
}
_SCRIPT = """
const core = await import("@litertjs/core");
await core.loadLiteRt("/node_modules/@litertjs/core/wasm/");
const model = await core.loadAndCompile("/model", { accelerator: "wasm" });
const [made] = await model.run([new core.Tensor(given, shape)]);
const values = (await made.data()).slice();
"""


def open_file(file: str) -> Bind:
    """Return what runs a .tflite file."""
    return open_by(_SCRIPT, _MODULES, file)


if __name__ == "__main__":
    serve(None, open_file)
