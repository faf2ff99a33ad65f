"""Any .tflite file, run by mobilekit's own LiteRT."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.worker import Bind, serve
from mobilekit.artifacts.litert import LiteRTRuntime


def open_file(file: str) -> Bind:
    """Open a file of one input and one output."""
    runtime = LiteRTRuntime(Path(file))
    return lambda array: lambda: next(iter(runtime.run({"input": array}).values()))


if __name__ == "__main__":
    serve(None, open_file)
