"""TVM, compiled for the processor without tuning."""

from __future__ import annotations

from typing import Any

import onnx
import tvm  # type: ignore[import-not-found]
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx  # type: ignore[import-not-found]

from benchmarks.peers.worker import Bind, serve


def open_file(file: str) -> Bind:
    """Compile an .onnx file."""
    module = from_onnx(onnx.load(file), keep_params_in_input=False)
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())

    def run(image: Any) -> Any:
        made = machine["main"](tvm.runtime.tensor(image))
        return (made if hasattr(made, "numpy") else made[0]).numpy()

    return lambda image: lambda: run(image)


if __name__ == "__main__":
    serve(None, open_file)
