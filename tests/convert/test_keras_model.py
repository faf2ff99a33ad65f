"""Which ways a model is made in, with a stand-in for onnx2tf whose models are as right as a test says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.checker import check_model

from mobilekit.convert.keras_model import keras_model
from mobilekit.errors import ToolError

SHAPE = [1, 3, 4, 5]
Floats = NDArray[np.float32]


class Model:
    """Stands in for a Keras model of one input: takes NHWC and gives a function of it, `order` of its axes, a fault."""

    def __init__(
        self,
        order: tuple[int, ...] = (0, 1, 2, 3),
        fault: float = 0.0,
        function: Callable[[Floats], Floats] = lambda x: x + x,
    ) -> None:
        self.inputs = [SimpleNamespace(name="x")]
        self.order, self.fault, self.function = order, fault, function

    def __call__(self, arrays: list[Floats]) -> Floats:
        with np.errstate(all="ignore"):
            return (self.function(arrays[0]) * np.float32(1 + self.fault)).transpose(self.order)


def write(path: Path, nodes: list[Any]) -> Path:
    """Write a graph from x to y."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    model = helper.make_model(helper.make_graph(nodes, "net", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@dataclass
class Onnx2tf:
    """What was asked of onnx2tf, and what it answers: at once, with orders told by values, in its strict mode."""

    loose: Any = None
    told: Any = None
    strict: Any = None
    wrong: list[str] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    is_guided: bool = False
    content: bytes = b""

    def convert(self, *, input_onnx_file_path: str, disable_strict_mode: bool, **_others: object) -> Any:
        path = Path(input_onnx_file_path)
        self.content = self.content or path.read_bytes()
        assert path.read_bytes() == self.content, "each mode has the file as it was"
        path.write_bytes(b"rewritten")
        self.ways.append("told" if self.is_guided else "loose" if disable_strict_mode else "strict")
        answer = getattr(self, self.ways[-1])
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @contextmanager
    def guiding(self) -> Iterator[None]:
        self.is_guided = True
        try:
            yield
        finally:
            self.is_guided = False


@pytest.fixture
def onnx2tf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Onnx2tf:
    """A stand-in, and an empty working directory."""
    stand_in = Onnx2tf(told=Model(), strict=Model())
    monkeypatch.setattr("mobilekit.convert.keras_model.AxesByValue", lambda _content, _arrays: stand_in)
    names = ("onnx2tf", "onnx2tf.ops", "onnx2tf.ops.MatMul", "onnx2tf.ops.Resize")
    package, ops, products, resizes = (ModuleType(name) for name in names)
    package.convert = stand_in.convert  # type: ignore[attr-defined]
    ops.MatMul, ops.Resize = products, resizes  # type: ignore[attr-defined]
    resizes.make_node = lambda *, opset, **_arguments: opset  # type: ignore[attr-defined]
    products.onnx_tf_tensor_validation = lambda **_arguments: {  # type: ignore[attr-defined]
        "large": [np.float32([1000, -2000]), False, 0.5],
        "small": [np.float32([0.1]), False, 0.5],
    }
    for module in (package, ops, products, resizes):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    return stand_in


def doubled(folder: Path) -> Path:
    return write(folder / "double.onnx", [helper.make_node("Add", ["x", "x"], ["y"])])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2)], ids=["NHWC", "NCHW"])
def test_a_right_model_is_taken_in_either_layout(order: tuple[int, ...], onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    onnx2tf.loose = Model(order, fault=5e-6)
    made = keras_model(doubled(tmp_path), {"x": SHAPE})
    assert made.model is onnx2tf.loose and onnx2tf.ways == ["loose"]
    ((as_is, moved),) = made.errors
    assert (as_is < 1e-4, moved < 1e-4) == (order != (0, 1, 2, 3), order == (0, 1, 2, 3))


@pytest.mark.parametrize(
    "loose",
    [Model(fault=0.01), Model(fault=np.nan), Model((0, 2, 1, 3)), ValueError("no"), SystemExit(1)],
    ids=["values", "nan", "axes", "error", "exit"],
)
def test_what_is_wrong_is_made_again_with_orders_told(loose: Any, onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    onnx2tf.loose = loose
    assert keras_model(doubled(tmp_path), {"x": SHAPE}).model is onnx2tf.told
    assert onnx2tf.ways == ["loose", "told"]


@pytest.mark.parametrize("told", [Model((0, 2, 1, 3)), ValueError("no")], ids=["axes", "error"])
def test_strict_mode_makes_what_is_wrong_even_so(told: Any, onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    onnx2tf.loose, onnx2tf.told, onnx2tf.wrong = Model(fault=0.5), told, ["norm (ReduceL2)"]
    assert keras_model(doubled(tmp_path), {"x": SHAPE}).model is onnx2tf.strict
    assert onnx2tf.ways == ["loose", "told", "strict"]


def test_a_fault_between_rounding_and_another_order_is_looked_into(onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    """A branch of small weights hides a wrong order; what is no nearer the other way stays as it was made at first."""
    onnx2tf.loose = Model(fault=1e-4)
    assert keras_model(doubled(tmp_path), {"x": SHAPE}).model is onnx2tf.told
    onnx2tf.told = Model(fault=0.9e-4)
    assert keras_model(doubled(tmp_path), {"x": SHAPE}).model is onnx2tf.loose
    assert onnx2tf.ways == ["loose", "told"] * 2


def test_an_op_that_is_wrong_in_every_way_is_named(onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    onnx2tf.loose = onnx2tf.told = onnx2tf.strict = Model(fault=0.5)
    onnx2tf.wrong = ["norm (ReduceL2)", "later (Mul)"]
    with pytest.raises(ToolError, match=r"another function of norm \(ReduceL2\)"):
        keras_model(doubled(tmp_path), {"x": SHAPE})


def test_a_fault_of_no_op_is_left_to_the_ledger(onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    """The label of the largest of two equal values, for one, is another in every runtime."""
    onnx2tf.loose, onnx2tf.told, onnx2tf.strict = Model(fault=0.5), Model(fault=0.4), Model(fault=0.01)
    assert keras_model(doubled(tmp_path), {"x": SHAPE}).model is onnx2tf.strict


def test_what_can_be_made_in_no_way_says_why(onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    onnx2tf.loose = onnx2tf.told = ValueError("first")
    onnx2tf.strict = ValueError("no such op")
    with pytest.raises(ValueError, match="no such op"):
        keras_model(doubled(tmp_path), {"x": SHAPE})


@pytest.mark.parametrize(
    ("ops", "function"),
    [
        ([("Relu", ["x"], "r"), ("Div", ["x", "r"], "y")], lambda x: x / np.maximum(x, 0)),
        ([("Sqrt", ["x"], "y")], np.sqrt),
    ],
    ids=["infinities", "undefined"],
)
@pytest.mark.parametrize("fault", [1e-6, 0.01])
def test_equal_infinities_and_undefined_values_agree(
    ops: list[tuple[str, list[str], str]],
    function: Callable[[Floats], Floats],
    fault: float,
    onnx2tf: Onnx2tf,
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "odd.onnx", [helper.make_node(kind, inputs, [output]) for kind, inputs, output in ops])
    onnx2tf.loose = Model(fault=fault, function=function)
    onnx2tf.told = Model(function=function)
    made = keras_model(path, {"x": SHAPE})
    assert made.model is (onnx2tf.loose if fault < 1e-3 else onnx2tf.told)


def test_finite_values_where_there_are_infinities_do_not_agree(onnx2tf: Onnx2tf, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Div", ["x", "r"], ["y"])]
    onnx2tf.loose = Model(function=lambda x: np.where(x > 0, np.float32(1), np.float32(-3e38)))
    onnx2tf.told = Model(function=lambda x: x / np.maximum(x, 0))
    assert keras_model(write(tmp_path / "odd.onnx", nodes), {"x": SHAPE}).model is onnx2tf.told


def test_products_of_matrices_are_compared_by_their_share_of_the_largest_value(
    onnx2tf: Onnx2tf, tmp_path: Path
) -> None:
    onnx2tf.loose = Model()
    keras_model(doubled(tmp_path), {"x": SHAPE})
    found = sys.modules["onnx2tf.ops.MatMul"].onnx_tf_tensor_validation()
    assert found["large"][2] == pytest.approx(0.5 / 2000)
    assert found["small"][2] == 0.5, "below 1 the difference counts as it is"


@pytest.mark.parametrize(
    ("opset", "antialias", "known"), [(11, 0, 11), (17, 0, 17), (18, 0, 17), (20, 0, 17), (18, 1, 18)]
)
def test_resizes_are_made_as_before_opset_18(
    opset: int, antialias: int, known: int, onnx2tf: Onnx2tf, tmp_path: Path
) -> None:
    onnx2tf.loose = Model()
    keras_model(doubled(tmp_path), {"x": SHAPE})
    node = SimpleNamespace(attrs={"antialias": antialias})
    made = sys.modules["onnx2tf.ops.Resize"].make_node(graph_node=node, tf_layers_dict={}, opset=opset)
    assert made == known
