"""IREE, compiled for the processor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from iree import compiler, runtime  # type: ignore[import-not-found]

from benchmarks.consumers.tool import run_tool
from benchmarks.peers.worker import Bind, serve


def open_file(file: str) -> Bind:
    """Compile an .onnx file in the working directory."""
    importer = [sys.executable, "-m", "iree.compiler.tools.import_onnx", file, "-o", "model.mlir"]
    run_tool("IREE's importer", importer, "model.mlir")
    options = ["--iree-llvmcpu-target-cpu=host"]
    compiler.compile_file(
        "model.mlir", target_backends=["llvm-cpu"], input_type="onnx", output_file="model.vmfb", extra_args=options
    )
    module = runtime.load_vm_flatbuffer(Path("model.vmfb").read_bytes(), driver="local-sync")
    [name] = [name for name in module.vm_module.function_names if not name.startswith("__") and "$" not in name]

    def run(image: Any) -> Any:
        return np.asarray(getattr(module, name)(image).to_host())

    return lambda image: lambda: run(image)


if __name__ == "__main__":
    serve(None, open_file)
