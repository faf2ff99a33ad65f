"""TensorFlow Lite for microcontrollers, its reference kernels."""

from __future__ import annotations

import numpy as np
from tflite_micro import runtime  # type: ignore[import-not-found]

from benchmarks.peers.worker import Bind, serve

_ARENA = 64 * 2**20
"""Bytes; a microcontroller has less, but what it needs is no question here."""


def open_file(file: str) -> Bind:
    """Open a .tflite file."""
    interpreter = runtime.Interpreter.from_file(file, arena_size=_ARENA)

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_input(image, 0)
        interpreter.invoke()
        return np.array(interpreter.get_output(0))

    return lambda image: lambda: run(image)


if __name__ == "__main__":
    serve(None, open_file)
