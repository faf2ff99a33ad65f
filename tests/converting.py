"""Nets of a test made TFLite files by the converters alone: no proofs, nothing measured, no bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.convert.tflite import write_quantized, write_tflite
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx.graph import trace

Floats = NDArray[np.float32]


def normal(count: int, *shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, *shape), dtype=np.float32)


class Converted:
    """A net of one input and its float32 file, of which int8 files are made.

    Args:
        model: The net.
        shape: Of the input, without the batch.
        folder: An empty folder for all files.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...], folder: Path) -> None:
        self.model, self.shape, self.folder = model.eval(), shape, folder
        self.graph = trace(self.model, {"input": torch.zeros(1, *shape)})
        (folder / "scratch").mkdir()
        write_onnx(self.graph, {"input": (1, *shape)}, folder / "raw.onnx")
        simplify(folder / "raw.onnx", folder / "net.onnx", folder / "scratch")
        self.float32 = folder / "float32.tflite"
        made = write_tflite(folder / "net.onnx", {"float32": self.float32}, None, folder / "scratch")
        self.layouts = made.layouts

    def int8(self, keep_float: Sequence[str] = (), count: int = 12) -> Path:
        """Return an int8 file calibrated on normal inputs, with these words' ops in float."""
        path = self.folder / f"{'-'.join(keep_float) or 'plain'}.tflite"
        settings = Int8(keep_float=tuple(keep_float))
        write_quantized(self.float32, path, {"input": normal(count, *self.shape)}, self.folder / "scratch", settings)
        return path

    def error(self, path: Path) -> float:
        """Return the relative L2 error of a file on the first of the calibration's inputs."""
        inputs = normal(8, *self.shape)
        with torch.no_grad():
            expected = torch.cat([self.model(image[None]) for image in torch.from_numpy(inputs)]).numpy()
        (given,) = LiteRTRuntime(path, self.layouts).run({"input": inputs}).values()
        return float(np.linalg.norm(given - expected) / np.linalg.norm(expected))
