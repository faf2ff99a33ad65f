"""Other quantizers as a user calls them: `python -m benchmarks.int8_accuracy.by_hand STEP FOLDER [NETWORK WEIGHTS]`.

In a folder, `onnx` writes float.onnx of a network, by torch.onnx; `litert` makes litert.tflite of float.tflite; `nncf`
and `onnxruntime` make nncf.onnx and onnxruntime.onnx of float.onnx. All calibrate on calibration.npy, float32
(N, 3, H, W).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def onnx(folder: Path) -> None:
    """Write float.onnx."""
    import torch

    network, side = _network(sys.argv[3]), int(np.load(folder / "calibration.npy", mmap_mode="r").shape[-1])
    names = {"input_names": ["input"], "output_names": ["logits"]}
    torch.onnx.export(network.eval(), (torch.zeros(1, 3, side, side),), folder / "float.onnx", dynamo=False, **names)


def _network(name: str) -> Any:
    import torch

    from mobilekit.models.torchvision_ops import make_importable

    make_importable()
    if name == "MobileNetV2":
        from torchvision.models import mobilenet_v2

        network = mobilenet_v2()
    else:
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

        network = EfficientNet.from_name("efficientnet-lite1")
    network.load_state_dict(torch.load(sys.argv[4], weights_only=True))
    return network


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
    """Yield the calibration inputs, each (1, 3, H, W)."""
    yield from np.load(folder / "calibration.npy")[:, None]


STEPS: dict[str, Callable[[Path], None]] = {"onnx": onnx, "litert": litert, "nncf": nncf, "onnxruntime": onnxruntime}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]))
