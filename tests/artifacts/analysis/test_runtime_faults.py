"""Known faults of the runtimes, held to what the installed ones compute: a file is named where its values are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mobilekit.artifacts.analysis.runtime_faults import faults_in, installed_faults, known_faults
from mobilekit.artifacts.onnx import open_session
from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.devices.base import DeviceFacts
from mobilekit.bench.engine import EngineFacts, RunSettings
from mobilekit.bench.result import result_of
from mobilekit.bench.session import Outcome, Plan
from mobilekit.cli.render.markdown import bench_markdown
from mobilekit.cli.render.runtime_faults import runtime_fault_lines
from mobilekit.cli.results import faults_of
from tests.conftest import Cli
from tests.tflite_by_hand import Int8, make_int8_op

RANDOM = np.random.default_rng(0)


def int8(*shape: int) -> NDArray[np.int8]:
    return RANDOM.integers(-128, 128, shape).astype(np.int8)


def run(content: bytes, array: NDArray[np.int8], with_delegate: bool = True) -> NDArray[np.int64]:
    kind = OpResolverType.AUTO if with_delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], array)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(np.int64)


def steps(values: NDArray[np.float64], like: Int8) -> NDArray[np.int64]:
    return np.clip(np.round(values / like.scale) + like.zero_point, -128, 127).astype(np.int64)


def names(path: Path, content: bytes, version: str | None = None) -> list[str]:
    path.write_bytes(content)
    return [each.name for each in faults_in(path, version)]


def matmul(zero_point: int) -> tuple[bytes, NDArray[np.int8], NDArray[np.int64]]:
    left, right = int8(1, 8, 16), int8(1, 16, 12)
    makes = Int8((1, 8, 12), 0.25, 3)
    content = make_int8_op(
        "BATCH_MATMUL", [Int8(left.shape, 0.02, 4), Int8(right.shape, 0.03, zero_point, right)], makes
    )
    return content, left, steps((left.astype(float) - 4) @ (right.astype(float) - zero_point) * 0.02 * 0.03, makes)


def mean(scale: float, zero_point: int, keep: bool = True) -> tuple[bytes, NDArray[np.int8], NDArray[np.int64]]:
    array, axes = int8(1, 7, 7, 64), np.array([1, 2], np.int32)
    right = (array.astype(float) + 128).mean((1, 2), keepdims=keep) * 0.02
    makes = Int8(right.shape, scale, zero_point)
    content = make_int8_op("MEAN", [Int8(array.shape, 0.02, -128), axes], makes, keepDims=keep)
    return content, array, steps(right, makes)


@pytest.mark.parametrize("zero_point", [0, 7])
def test_a_batch_matmul_is_named_where_it_is_wrong(tmp_path: Path, zero_point: int) -> None:
    content, array, right = matmul(zero_point)
    is_wrong = bool((abs(run(content, array) - right) > 1).any())
    assert ("batch-matmul-zero-point" in names(tmp_path / "a.tflite", content)) == is_wrong
    assert ("batch-matmul-zero-point" in names(tmp_path / "a.tflite", content, "2.1.0")) == (zero_point == 7)
    assert "batch-matmul-zero-point" not in names(tmp_path / "a.tflite", content, "2.1.3")


@pytest.mark.parametrize(
    ("before", "after", "aligns"),
    [(64, 512, True), (56, 224, True), (33, 513, True), (64, 512, False), (65, 513, False)],
)
def test_a_resize_is_named_where_its_places_drift_without_delegates(
    before: int, after: int, aligns: bool, tmp_path: Path
) -> None:
    array, sides = int8(1, before, 4, 1), np.array([after, 4], np.int32)
    makes = Int8((1, after, 4, 1), 0.05, 3)
    ways = {"alignCorners": aligns, "halfPixelCenters": not aligns}
    content = make_int8_op("RESIZE_BILINEAR", [Int8(array.shape, 0.05, 3), sides], makes, **ways)
    places = (
        np.arange(after) * (before - 1) / (after - 1) if aligns else (np.arange(after) + 0.5) * before / after - 0.5
    )
    places = places.clip(0, before - 1)
    right = np.stack([np.interp(places, np.arange(before), array[0, :, column, 0]) for column in range(4)], 1)
    off = abs(run(content, array, with_delegate=False)[0, :, :, 0] - right).max()
    assert ("resize-bilinear-step" in names(tmp_path / "a.tflite", content)) == (off > 2)


def test_a_root_is_named_that_is_the_floor(tmp_path: Path) -> None:
    array = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)
    makes = Int8(array.shape, 0.015, -128)
    content = make_int8_op(
        "SQRT",
        [
            Int8(array.shape, 0.05, -128),
        ],
        makes,
    )
    right = steps(np.sqrt((array.astype(float) + 128) * 0.05), makes)
    assert 64 < (run(content, array) < right).sum() < 192
    assert names(tmp_path / "a.tflite", content) == ["sqrt-floor"]


@pytest.mark.parametrize(("scale", "zero_point", "keep"), [(0.0113, -120, True), (0.0113, -120, False)])
def test_a_mean_is_named_where_a_fifth_is_off_without_delegates(
    tmp_path: Path, scale: float, zero_point: int, keep: bool
) -> None:
    content, array, right = mean(scale, zero_point, keep)
    off = run(content, array, with_delegate=False) - right
    assert ("mean-one-step" in names(tmp_path / "a.tflite", content)) == (np.mean(off != 0) > 0.2)
    assert len(set(np.sign(off[off != 0]))) <= 1 or not keep
    assert (run(content, array) == right).mean() > 0.99


@pytest.mark.parametrize("scale", [1 / 256, 0.003])
def test_a_logistic_is_named_where_it_is_refused_without_delegates(tmp_path: Path, scale: float) -> None:
    array = int8(1, 4, 4, 8)
    content = make_int8_op("LOGISTIC", [Int8(array.shape, 0.05, 2)], Int8(array.shape, scale, -128))
    try:
        run(content, array, with_delegate=False)
        is_refused = False
    except RuntimeError:
        is_refused = True
    assert ("logistic-scale" in names(tmp_path / "a.tflite", content)) == is_refused == (scale == 0.003)
    assert faults_in(tmp_path / "a.tflite", without_delegates=False) == ()


def resize(before: int, after: int, path: Path) -> Any:
    floor = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **floor)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, before, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, after, 1])],
        [helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, after, 1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    rows = np.arange(before, dtype=np.float32).reshape(1, 1, -1, 1)
    return open_session(path).run(None, {"x": rows})[0].ravel().astype(int)


@pytest.mark.parametrize(("before", "after"), [(14, 2), (49, 7), (28, 2), (21, 6), (10, 2), (7, 14), (3, 5), (16, 2)])
def test_a_nearest_resize_is_named_where_its_rows_are_wrong(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / "a.onnx"
    rows = resize(before, after, path)
    is_wrong = bool((rows != np.arange(after) * before // after).any())
    assert [each.name for each in faults_in(path)] == ["nearest-float32-rows"] * is_wrong


def test_versions_decide() -> None:
    assert "batch-matmul-zero-point" in {each.name for each in known_faults("ai-edge-litert", "2.1.2")}
    for version in ("1.4.0", "2.1.3", "2.3.0", "2.4.0"):
        assert "batch-matmul-zero-point" not in {each.name for each in known_faults("ai-edge-litert", version)}
    assert known_faults("onnxruntime", "1.22.0") == known_faults("onnxruntime", "99") == []
    assert {each.runtime for _, each in installed_faults()} <= {"ai-edge-litert", "onnxruntime"}


def test_inspect_says_it(cli: Cli, tmp_path: Path) -> None:
    array = int8(1, 4, 4, 8)
    file = tmp_path / "a.tflite"
    file.write_bytes(make_int8_op("LOGISTIC", [Int8(array.shape, 0.05, 2)], Int8(array.shape, 0.003, -128)))
    done = cli("inspect", file)
    assert "in a.tflite: 1 LOGISTIC (int8, with another output scale than 1/256), first t1: LiteRT's" in done.stdout
    assert '"name": "logistic-scale"' in cli("inspect", file, "--json").stdout


def test_bench_and_diff_name_what_is_wrong_with_delegates(tmp_path: Path) -> None:
    file = tmp_path / "a.tflite"
    file.write_bytes(matmul(7)[0])
    artifact = Artifact(file, "b/a.tflite", "b", "int8", "0" * 64, None)
    facts = DeviceFacts("local", "", "x86_64", None, "Linux", None, (), None, False)
    bench = result_of(
        facts, EngineFacts("LiteRT", "2.1.2", None), [artifact], Plan((file,), RunSettings(), 1), Outcome()
    )
    assert [each.file for each in bench.runtime_faults or ()] == ["b/a.tflite"]
    line = runtime_fault_lines(bench.runtime_faults or ())[0]
    assert line.startswith("known fault of ai-edge-litert 2.1.2 in b/a.tflite: 1 BATCH_MATMUL (int8, with a second")
    assert line in bench_markdown([bench])
    fixed = result_of(
        facts, EngineFacts("LiteRT", "2.3.0", None), [artifact], Plan((file,), RunSettings(), 1), Outcome()
    )
    assert "runtime_faults" not in fixed.to_json()
    file.write_bytes(mean(0.0113, -120)[0])
    assert [len(faults_of([file], within)) for within in (False, True)] == [0, len(faults_in(file))]


def test_doctor_lists_them(cli: Cli) -> None:
    text = " ".join(cli("doctor").stdout.split())
    for version, fault in installed_faults():
        assert f"known fault of {fault.runtime} {version}: {fault.op} ({fault.form}): {fault.text}." in text
