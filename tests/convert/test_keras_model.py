"""When onnx2tf's strict mode is asked for, by models that stand in for what it makes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.checker import check_model

from mobilekit.convert import keras_model as module
from mobilekit.convert.keras_model import keras_model

SHAPE = [1, 3, 4, 5]


class Double:
    """Stands in for a Keras model: takes NHWC and gives twice the input, `order` of its axes, and a fault."""

    def __init__(self, order: tuple[int, ...] = (0, 1, 2, 3), fault: float = 0.0) -> None:
        self.inputs = [SimpleNamespace(name="x")]
        self.order, self.fault = order, fault

    def __call__(self, arrays: list[Any]) -> Any:
        return (2 * arrays[0] * (1 + self.fault)).transpose(self.order)


@pytest.fixture
def onnx_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph that doubles its input, in the working directory."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    check_model(model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "double.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "double.onnx"


def strict_modes(monkeypatch: pytest.MonkeyPatch, path: Path, loose: Any) -> tuple[list[bool], Any]:
    """Return the modes that were asked for, and the model; `loose` is made without the strict one, or raised."""
    asked: list[bool] = []
    content = path.read_bytes()

    def convert(onnx_path: Path, _inputs: object, is_strict: bool) -> Any:
        assert onnx_path.read_bytes() == content, "each mode has the file as it was"
        asked.append(is_strict)
        onnx_path.write_bytes(b"rewritten")
        if not is_strict and isinstance(loose, BaseException):
            raise loose
        return "strict" if is_strict else loose

    monkeypatch.setattr(module, "_convert", convert)
    monkeypatch.setattr(module, "_compare_products_by_share", lambda: None)
    return asked, keras_model(path, {"x": SHAPE})


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2)], ids=["NHWC", "NCHW"])
def test_a_right_model_is_taken_in_either_layout(
    order: tuple[int, ...], onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = Double(order, fault=1e-5)
    assert strict_modes(monkeypatch, onnx_path, loose) == ([False], loose)


@pytest.mark.parametrize(
    "loose",
    [
        Double(fault=0.01),
        Double(fault=np.nan),
        Double((0, 2, 1, 3)),
        ValueError("no"),
        SystemExit(1),
    ],
    ids=["values", "nan", "axes", "error", "exit"],
)
def test_strict_mode_makes_what_is_wrong_without_it(
    loose: Any, onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert strict_modes(monkeypatch, onnx_path, loose) == ([False, True], "strict")


def test_equal_infinities_and_undefined_values_agree() -> None:
    expected = np.array([1.0, np.inf, np.nan, -np.inf], np.float32)
    assert module._is_close(expected + np.float32(1e-5), expected)
    assert not module._is_close(np.array([1.0, np.inf, 0.0, -np.inf], np.float32), expected)
    assert not module._is_close(np.array([1.01, np.inf, np.nan, -np.inf], np.float32), expected)
