"""Rockchip's compiler for its NPU in the rk3588, in float16, and its simulator."""

from __future__ import annotations

from typing import Any

from rknn.api import RKNN  # type: ignore[import-not-found]

from benchmarks.peers.worker import Bind, serve


def open_file(file: str) -> Bind:
    """Compile an .onnx file for the simulator."""
    rknn = RKNN(verbose=False)
    steps = (
        lambda: rknn.config(target_platform="rk3588"),
        lambda: rknn.load_onnx(model=file),
        lambda: rknn.build(do_quantization=False),
        rknn.init_runtime,
    )
    for step in steps:
        if step():
            raise SystemExit("rknn-toolkit2 stops")

    def run(image: Any) -> Any:
        return rknn.inference(inputs=[image], data_format=["nchw"])[0]

    return lambda image: lambda: run(image)


if __name__ == "__main__":
    serve(None, open_file)
