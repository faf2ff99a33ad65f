"""Judges files by LiteRT and ONNX Runtime against PyTorch.

Nothing of mobilekit has a part in it. An output is told by its shape, whatever its name and place: NCHW or NHWC, and of
two that might be meant the nearer one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

Array = NDArray[Any]
Model = Callable[[Array], list[Array]]
"""Takes one input (1, C, H, W), and returns all outputs in float64."""
LARGEST_ERROR = 1e-4
"""Of float32 and ONNX files, of each output's largest value."""
LEAST_COSINE = 0.95
"""Of int8 files, the mean of photos, of each output."""
_AXES = ((0, 1, 2, 3), (0, 3, 1, 2))
_MOST_OUTPUTS = 6


def open_onnx(path: Path) -> Model:
    """Return an ONNX file as ONNX Runtime runs it."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = [each.name for each in session.get_inputs()]
    return lambda image: [np.asarray(each, np.float64) for each in session.run(None, {name: image})]


def open_tflite(path: Path) -> Model:
    """Return a TFLite file as LiteRT runs it, quantized inputs and outputs in real numbers."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()

    def run(image: Array) -> list[Array]:
        image = image if taken["shape"][1] == image.shape[1] else image.transpose(0, 2, 3, 1)
        interpreter.set_tensor(taken["index"], np.ascontiguousarray(_quantized(image, taken)))
        interpreter.invoke()
        return [_real(interpreter.get_tensor(each["index"]), each) for each in interpreter.get_output_details()]

    return run


def _quantized(values: Array, detail: dict[str, Any]) -> Array:
    scale, zero = detail["quantization"]
    if not scale:
        return values.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    rounded: Array = np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(detail["dtype"])
    return rounded


def _real(values: Array, detail: dict[str, Any]) -> Array:
    scale, zero = detail["quantization"]
    return (values.astype(np.float64) - zero) * scale if scale else values.astype(np.float64)


def judge(path: Path, precision: str, prepared: Path) -> dict[str, Any]:
    """Return whether a file is right, with its figure: the largest error, or int8's cosine.

    Args:
        path: The file.
        precision: `onnx`, `float32` or `int8`.
        prepared: The folder that `prepare` wrote.
    """
    try:
        model = (open_onnx if precision == "onnx" else open_tflite)(path)
        with np.load(prepared / ("photos.npz" if precision == "int8" else "random.npz")) as data:
            made = [model(image[None]) for image in data["inputs"]]
            expected = [data[f"o{i}"].astype(np.float64) for i in range(len(data.files) - 1)]
        columns = [np.concatenate(column) for column in zip(*made, strict=True)]
    except Exception as error:
        return {"right": False, "why_not": f"it does not run: {(str(error).splitlines() or [''])[0][:200]}"}
    figure = _cosine if precision == "int8" else _closeness
    found = best(columns, expected, figure)
    if found is None:
        shapes = [list(each.shape[1:]) for each in columns]
        return {"right": False, "why_not": f"its outputs have the shapes {shapes}"}
    if precision == "int8":
        return {"right": found >= LEAST_COSINE, "cosine": found}
    return {"right": -found <= LARGEST_ERROR, "error": -found}


def best(made: list[Array], expected: list[Array], figure: Callable[[Array, Array], float]) -> float | None:
    """Return the figure of the worst output in the best assignment of outputs; None where shapes fit in none."""
    orders = permutations(range(len(made))) if len(made) <= _MOST_OUTPUTS else [tuple(range(len(made)))]
    if len(made) != len(expected):
        return None
    figures = [[_of_pair(a, b, figure) for a in made] for b in expected]
    worst = [[figures[place][number] for place, number in enumerate(order)] for order in orders]
    known = [min(found) for row in worst if len(found := [each for each in row if each is not None]) == len(row)]
    return max(known, default=None)


def _of_pair(made: Array, expected: Array, figure: Callable[[Array, Array], float]) -> float | None:
    """Return the figure of an output in the axes that fit best; None where none do."""
    axes = _AXES if made.ndim == 4 else (tuple(range(made.ndim)),)
    moved = [made.transpose(order) for order in axes]
    return max((figure(each, expected) for each in moved if each.shape == expected.shape), default=None)


def _closeness(made: Array, expected: Array) -> float:
    """Return the largest error in units of the largest value, negative; what is not finite is infinitely off."""
    error = float(np.abs(made - expected).max() / np.abs(expected).max())
    return -error if np.isfinite(error) else -np.inf


def _cosine(made: Array, expected: Array) -> float:
    """Return the mean of the cosines of all inputs."""
    rows, wanted = (each.reshape(len(each), -1) for each in (made, expected))
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = float(((rows * wanted).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)).mean())
    return cosine if np.isfinite(cosine) else -1.0


def judge_files(files: Mapping[str, Path], prepared: Path, reply: Path) -> None:
    """Write what `judge` finds of files by format, as JSON."""
    reply.write_text(json.dumps({name: judge(path, name, prepared) for name, path in files.items()}))
