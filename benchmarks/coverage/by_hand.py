"""Other converters as a user calls them by hand: `python -m benchmarks.coverage.by_hand STEP MODEL SIZE PREPARED`.

Into the working directory, `onnx` writes model.onnx as PyTorch's documents do, and what onnx2tf takes for int8;
`tflite` writes model.tflite by litert-torch; `int8` makes model.int8.tflite of that by ai-edge-quantizer.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn


def onnx(model: str, size: int, prepared: Path) -> None:
    """Write model.onnx by today's exporter, and by the earlier one where that gives up."""
    import torch

    from benchmarks.peers.onnx2tf_peer import save_inputs

    save_inputs(np.load(prepared / "calibration.npy"))
    reference, image = _given(model, prepared), (torch.zeros(1, 3, size, size),)
    names: Any = {"input_names": ["input"]}
    try:
        torch.onnx.export(reference, image, "model.onnx", dynamo=True, external_data=False, **names)
    except Exception:
        torch.onnx.export(reference, image, "model.onnx", dynamo=False, **names)


def tflite(model: str, size: int, prepared: Path) -> None:
    """Write model.tflite."""
    import litert_torch
    import torch

    litert_torch.convert(_given(model, prepared), (torch.zeros(1, 3, size, size),)).export("model.tflite")


def int8(_model: str, _size: int, prepared: Path) -> None:
    """Write model.int8.tflite."""
    from benchmarks.peers.litert_torch_peer import quantize

    quantize(np.load(prepared / "calibration.npy"))


def _given(model: str, prepared: Path) -> nn.Module:
    """Return the network that every way is given: of transformers that of the folder, as its outputs are."""
    from benchmarks.coverage.hub import HUB, load
    from benchmarks.coverage.networks import network

    return load(model, prepared / "hub") if model in HUB else network(model)


if __name__ == "__main__":
    {"onnx": onnx, "tflite": tflite, "int8": int8}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
