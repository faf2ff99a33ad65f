"""A network of which TFLite files are made, however that is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """What a way from ONNX to TFLite came to.

    Its files have the ONNX file's inputs and outputs, in that order and by their names there.
    """

    layouts: dict[str, str]
    """NHWC or NCHW for each output of four axes, by its name."""
    float32: Callable[[], bytes]
    """Makes the float32 file."""
    float16: Callable[[], bytes]
    """Makes the file with weights in float16."""
