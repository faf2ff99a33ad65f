"""Networks by onnx2tf's direct writer: what is right is taken, and what is wrong goes by Keras."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.convert import process
from mobilekit.convert import tflite as convert_tflite
from mobilekit.convert.direct.network import layouts_of
from mobilekit.convert.installed import writes_directly
from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.convert.tflite import write_tflite
from mobilekit.errors import ToolError
from mobilekit.rewrites.fx.graph import trace
from tests.converting import normal

with_writer = pytest.mark.skipif(not writes_directly(), reason="this onnx2tf has no direct writer")


@pytest.fixture(autouse=True)
def directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_tflite, "writes_directly", lambda: True)


class Net(nn.Module):
    """A convolution, and what a function makes of its result."""

    def __init__(self, head: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3, 2, 1), head

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.conv(x))


class Two(Net):
    """The same of two inputs."""

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> Any:  # type: ignore[override]
        return self.head(self.conv(x), other)


class Converted:
    """A net's float32 file, and by which way it was made."""

    def __init__(self, model: nn.Module, arrays: Arrays, folder: Path) -> None:
        shapes = {name: array.shape for name, array in arrays.items()}
        graph = trace(model.eval(), {name: torch.from_numpy(array) for name, array in arrays.items()})
        write_onnx(graph, shapes, folder / "raw.onnx")
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        simplify(folder / "raw.onnx", folder / "net.onnx", self.scratch)
        self.made = write_tflite(folder / "net.onnx", {"float32": folder / "net.tflite"}, None, self.scratch)
        assert not self.made.failed
        self.expected = OnnxRuntime(folder / "net.onnx").run(arrays)
        self.given = LiteRTRuntime(folder / "net.tflite", self.made.layouts).run(arrays)

    @property
    def is_by_keras(self) -> bool:
        return (self.scratch / "saved_model").exists()

    def check(self) -> None:
        assert list(self.given) == list(self.expected)
        for name, value in self.expected.items():
            assert self.given[name].shape == value.shape
            np.testing.assert_allclose(self.given[name], value, atol=1e-5 * np.abs(value).max(), err_msg=name)


def converted(head: Callable[..., Any], folder: Path, **more: Any) -> Converted:
    arrays = {"input": normal(1, 3, 8, 12), **more}
    return Converted((Two if more else Net)(head), arrays, folder)


@with_writer
@pytest.mark.slow
def test_maps_rows_and_constants_arrive_by_name_and_in_order(tmp_path: Path) -> None:
    anchors = torch.linspace(0, 1, 24).reshape(1, 2, 3, 4)
    made = converted(
        lambda y: {"z": y.relu(), "anchors": anchors, "a": y.mean((2, 3)), "rows": y.flatten(2) * 2}, tmp_path
    )
    made.check()
    assert not made.is_by_keras
    assert list(made.expected) == ["z", "anchors", "a", "rows"]
    assert made.made.layouts["anchors"] == "NCHW"


@with_writer
@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(1, 5), (1, 5, 7), (1, 4, 4, 6), (1, 2, 3, 4, 5)], ids=["rank 2", "rank 3", "rank 4", "rank 5"]
)
def test_a_second_input_of_each_rank(shape: tuple[int, ...], tmp_path: Path) -> None:
    def head(y: torch.Tensor, other: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"first": y.mean((2, 3)), "second": other.exp() if other.ndim != 4 else other * y}

    made = converted(head, tmp_path, other=normal(*shape, seed=1))
    made.check()
    assert not made.is_by_keras


@with_writer
@pytest.mark.slow
def test_a_map_that_the_writer_loses_for_its_transposition_is_made_again(tmp_path: Path) -> None:
    made = converted(lambda y: {"map": y, "moved": y.permute(0, 2, 3, 1)}, tmp_path)
    made.check()
    assert not made.is_by_keras


@with_writer
@pytest.mark.slow
def test_a_scalar_that_the_writer_gives_an_axis_goes_by_keras(tmp_path: Path) -> None:
    made = converted(lambda y: {"map": y.relu(), "score": y.mean()}, tmp_path)
    made.check()
    assert made.is_by_keras


def test_layouts_are_told_by_values_where_all_axes_have_one_length() -> None:
    value = normal(1, 4, 4, 4)
    expected = {"as is": value, "moved": value}
    made = {"as is": value, "moved": value.transpose(0, 2, 3, 1)}
    assert layouts_of(made, expected) == {"as is": "NCHW", "moved": "NHWC"}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (normal(1, 4) * np.float32(1.001), "is off by 0.001"),
        (normal(1, 4).astype(np.float64), "makes float64 of y"),
        (normal(4), "is off by inf"),
    ],
)
def test_another_output_is_refused(value: Any, word: str) -> None:
    with pytest.raises(ToolError, match=word):
        layouts_of({"y": value}, {"y": normal(1, 4)})


_CRASHING = """
import os, sys
from mobilekit.convert.tasks import tflite
tflite.by_writer = lambda path: os.abort()
"""


@pytest.mark.slow
def test_where_the_writer_takes_the_process_with_it_keras_converts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing.py").write_text(_CRASHING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    start = process._started
    monkeypatch.setattr(process, "_started", lambda folder, ahead=(): start(folder, ("crashing", *ahead)))
    made = converted(lambda y: {"map": y.relu()}, tmp_path)
    made.check()
    assert made.is_by_keras


@with_writer
@pytest.mark.slow
@pytest.mark.parametrize("precisions", [["float32"], ["float32", "float16", "dynamic"]])
def test_tensorflow_is_not_imported_without_int8(precisions: list[str], tmp_path: Path) -> None:
    code = """
import json, sys
from mobilekit.convert.tasks.tflite import run
run(json.loads(sys.argv[1]))
print([name for name in ("tensorflow", "tf_keras", "keras", "torch") if name in sys.modules])
"""
    graph = trace(Net(lambda y: y.relu()).eval(), {"input": torch.zeros(1, 3, 8, 12)})
    write_onnx(graph, {"input": (1, 3, 8, 12)}, tmp_path / "net.onnx")
    request = {
        "onnx": str(tmp_path / "net.onnx"),
        "direct": True,
        "saved_model": str(tmp_path / "saved_model"),
        "begun": str(tmp_path / "begun"),
        "files": {name: str(tmp_path / f"{name}.tflite") for name in precisions},
    }
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(request)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "[]"
    assert sorted(path.stem for path in tmp_path.glob("*.tflite")) == sorted(precisions)
