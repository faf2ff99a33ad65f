"""ncnn, to which pnnx converts an ONNX file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import ncnn  # type: ignore[import-not-found]
import numpy as np

from benchmarks.consumers.tool import run_tool
from benchmarks.peers.worker import Bind, serve


def open_file(file: str) -> Bind:
    """Convert an .onnx file in the working directory, and open what came of it."""
    package = find_spec("pnnx")
    assert package and package.submodule_search_locations
    program = Path(package.submodule_search_locations[0]) / "pnnx"
    model = Path("model.onnx")
    model.write_bytes(Path(file).read_bytes())
    run_tool("pnnx", [program, model, "fp16=0"], "model.ncnn.param")
    net = ncnn.Net()
    net.opt.num_threads = 1
    if net.load_param("model.ncnn.param") or net.load_model("model.ncnn.bin"):
        raise SystemExit("ncnn does not load what pnnx has made")

    def run(image: np.ndarray) -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image[0]).clone())
            code, made = extractor.extract("out0")
        if code:
            raise SystemExit(f"ncnn stops with {code}")
        return np.array(made).reshape(1, -1)

    return lambda image: lambda: run(image)


if __name__ == "__main__":
    serve(None, open_file)
