"""All kinds of outputs arrive by their names, in TFLite and in ONNX: one net has them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.convert.tflite import write_tflite
from mobilekit.rewrites.fx.graph import trace
from tests.converting import normal

SHAPE = (3, 10, 12)
COUNT = 3


class AllKinds(nn.Module):
    """One convolution, and what people return of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.anchors = nn.Parameter(torch.linspace(-1, 1, 8).view(2, 4))

    def forward(self, x: torch.Tensor) -> dict[Any, Any]:
        y = self.conv(x)
        return {
            "image": x,
            "map": y,
            "same map": y,
            "nhwc": y.permute(0, 2, 3, 1),
            "score": y.mean(),
            "any": (y > 1).any(),
            "count": (y > 0).sum(),
            "mask": y > 0,
            "classes": y.argmax(1),
            "classes, kept": y.argmax(1, keepdim=True),
            "bytes": (y.sigmoid() * 255).to(torch.uint8),
            "ints": (y * 10).to(torch.int32),
            "anchors": self.anchors,
            "prior": torch.full((1, 2, 5, 6), 0.5),
            "strides": torch.tensor([8, 16]),
            "pi": torch.tensor(3.14),
            "no batch": y[0],
            "relu": y.relu(),
            "conv": [y.flatten(1), (y + 1, y - 1)],
            "größe": y * 2,
            0: y * 3,
            "a/b": y * 4,
            "a.b": y * 5,
            "nothing": None,
        }


NAMES = [
    *("image", "map", "same_map", "nhwc", "score", "any", "count", "mask", "classes", "classes__kept", "bytes", "ints"),
    *("anchors", "prior", "strides", "pi", "no_batch", "relu", "conv_0", "conv_1_0", "conv_1_1", "gro_e", "output_0"),
    *("a_b", "a_b_1"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What each file gives for some images, by the file's suffix."""
    folder: Path = tmp_path_factory.mktemp("kinds")
    (folder / "scratch").mkdir()
    shapes = {"input": (1, *SHAPE)}
    graph = trace(AllKinds().eval(), {"input": torch.zeros(1, *SHAPE)})
    write_onnx(graph, shapes, folder / "raw.onnx")
    simplify(folder / "raw.onnx", folder / "net.onnx", folder / "scratch")
    made = write_tflite(folder / "net.onnx", {"float32": folder / "net.tflite"}, None, folder / "scratch")
    assert not made.failed
    images = {"input": normal(COUNT, *SHAPE)}
    yield {
        "graph": TorchRuntime(graph).run(images),
        "onnx": OnnxRuntime(folder / "net.onnx").run(images),
        "tflite": LiteRTRuntime(folder / "net.tflite", made.layouts).run(images),
    }


@pytest.fixture(scope="module")
def right() -> dict[str, NDArray[Any]]:
    """What the module gives for each image alone."""
    model = AllKinds().eval()
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in NAMES}
    for image in normal(COUNT, *SHAPE):
        with torch.no_grad():
            result = model(torch.from_numpy(image[None]))
        nested = result.pop("conv")
        del result["nothing"]
        tensors = list(result.values())
        tensors[18:18] = [nested[0], *nested[1]]
        for name, tensor in zip(NAMES, tensors, strict=True):
            rows[name].append(tensor.detach().numpy())
    return {name: np.stack(each) for name, each in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["graph", "onnx", "tflite"])
def test_each_output_arrives(file: str, files: dict[str, Any], right: dict[str, NDArray[Any]]) -> None:
    given = files[file]
    assert sorted(given) == sorted(NAMES)
    if file != "tflite":  # where one tensor is three of them
        assert list(given) == NAMES
    for name, truth in right.items():
        assert given[name].size == truth.size and len(given[name]) == COUNT, name
        values = given[name].reshape(truth.shape)
        if truth.dtype.kind == "f":
            np.testing.assert_allclose(values, truth, rtol=0, atol=1e-6 * np.abs(truth).max(), err_msg=name)
        elif name == "bytes":  # what lies next to an integer may be cut to either side
            assert np.abs(values - truth.astype(int)).max() <= 1 and (values == truth).mean() > 0.98
        else:
            assert values.dtype == np.int64
            assert (values == truth).all(), name
