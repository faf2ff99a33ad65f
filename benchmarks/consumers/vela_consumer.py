"""Vela, Arm's compiler for the Ethos-U, which compiles and does not run: it says what it leaves to the processor."""

from __future__ import annotations

import sys

from ethosu.vela.vela import main

from benchmarks.peers.worker import serve


def compile_file(file: str) -> None:
    """Compile a .tflite file for a u55-256."""
    if main([file, "--accelerator-config", "ethos-u55-256", "--output-dir", "compiled"]):
        sys.exit("Vela ends with an error")


if __name__ == "__main__":
    serve(compile_file, None)
