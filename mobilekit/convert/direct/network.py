"""A network by onnx2tf's direct writer, if that is right: it is compared with ONNX Runtime by value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.tflite import ordered
from mobilekit.convert.axes_by_value import in_order
from mobilekit.convert.byte_inputs import draw_inputs
from mobilekit.convert.constant_outputs import take_constant_outputs, with_constant_outputs
from mobilekit.convert.direct.writer import float32
from mobilekit.convert.keras_model import ROUNDING, output_error
from mobilekit.convert.network import Network
from mobilekit.convert.weights import float16
from mobilekit.errors import ToolError

Arrays = Mapping[str, NDArray[Any]]


def by_writer(onnx_path: Path, pixels: Collection[str] = ()) -> Network:
    """Return a network whose float32 file onnx2tf has written.

    Args:
        onnx_path: The simplified file, which is changed.
        pixels: Names of its inputs that hold 0 to 255.

    Raises:
        ToolError: The file computes something else than the ONNX file on a random input, or has other names or types.
        Exception: onnx2tf's or LiteRT's own, and SystemExit, where either cannot.
    """
    session = open_session(onnx_path.read_bytes())
    arrays = draw_inputs({one.name: one.shape for one in session.get_inputs()}, pixels)
    outputs = [one.name for one in session.get_outputs()]
    expected = dict(zip(outputs, session.run(None, arrays), strict=True))
    constants = take_constant_outputs(onnx_path, {name: list(array.shape) for name, array in arrays.items()})
    content = ordered(with_constant_outputs(float32(onnx_path), constants), list(arrays), outputs)
    layouts = layouts_of(_run(content, arrays), expected)
    return Network(layouts, lambda: content, lambda: float16(content))


def _run(content: bytes, arrays: Arrays) -> Arrays:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    made: Arrays = interpreter.get_signature_runner()(
        **{name: np.ascontiguousarray(in_order(array, array.ndim == 4)) for name, array in arrays.items()}
    )
    return made


def layouts_of(made: Arrays, expected: Arrays) -> dict[str, str]:
    """Return NHWC or NCHW for each output of four axes, by its name, as its values say.

    Args:
        made: What the file gives.
        expected: What ONNX Runtime gives.

    Raises:
        ToolError: An output has other values, another shape or another type.
    """
    layouts = {}
    for name, value in expected.items():
        as_is = output_error(made[name], value)
        moved = output_error(made[name], in_order(value, True)) if value.ndim == 4 else np.inf
        if min(as_is, moved) > ROUNDING:
            raise ToolError(f"onnx2tf's direct writer makes another {name}: it is off by {min(as_is, moved):.1g}.")
        if made[name].dtype != value.dtype:
            raise ToolError(f"onnx2tf's direct writer makes {made[name].dtype} of {name}, which is {value.dtype}.")
        if value.ndim == 4:
            layouts[name] = "NHWC" if moved < as_is else "NCHW"
    return layouts
