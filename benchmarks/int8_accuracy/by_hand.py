"""Other quantizers as a user calls them: `python -m benchmarks.int8_accuracy.by_hand STEP FOLDER`.

In a folder, `litert` makes litert.tflite of float.tflite; `nncf` and `onnxruntime` make nncf.onnx and onnxruntime.onnx
of float.onnx. All calibrate on calibration.npy, float32 (N, C, H, W).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def litert(folder: Path) -> None:
    """Write litert.tflite."""
    from ai_edge_litert.interpreter import Interpreter
    from litert_quantizer import quantizer, recipe  # type: ignore[import-not-found]

    path = str(folder / "float.tflite")
    signature, runner = next(iter(Interpreter(path).get_signature_list().items()))
    [name] = runner["inputs"]
    tool = quantizer.Quantizer(path, recipe.static_wi8_ai8())
    rows = [{name: np.ascontiguousarray(row.transpose(0, 2, 3, 1))} for row in _rows(folder)]
    content = tool.quantize(tool.calibrate({signature: rows})).quantized_model
    (folder / "litert.tflite").write_bytes(content)


def nncf(folder: Path) -> None:
    """Write nncf.onnx."""
    import nncf as tool  # type: ignore[import-not-found]
    import onnx as format  # noqa: A004

    data = tool.Dataset([{"input": row} for row in _rows(folder)])
    made = tool.quantize(format.load(folder / "float.onnx"), data, subset_size=len(list(_rows(folder))))
    format.save(made, folder / "nncf.onnx")


def onnxruntime(folder: Path) -> None:
    """Write onnxruntime.onnx: QDQ, int8, a scale for each weights' channel."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows = _rows(folder)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            row = next(self.rows, None)
            return None if row is None else {"input": row}

    kind, paths = quantization.QuantType.QInt8, (folder / "float.onnx", folder / "onnxruntime.onnx")
    quantization.quantize_static(*paths, Reader(), per_channel=True, activation_type=kind, weight_type=kind)


def _rows(folder: Path) -> Iterator[NDArray[np.float32]]:
    """Yield the calibration inputs, each (1, C, H, W)."""
    yield from np.load(folder / "calibration.npy")[:, None]


STEPS: dict[str, Callable[[Path], None]] = {"litert": litert, "nncf": nncf, "onnxruntime": onnxruntime}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]))
