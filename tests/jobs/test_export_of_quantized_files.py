"""An export with the files that are made where they are asked for alone: int16x8, and quantized ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from mobilekit.parity.ledger.result import Ledger
from mobilekit.recipes.inputs.builtin import evaluation_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT
from tests.command_line import run_here
from tests.tiny import TINY, TINY_RECIPE

pytestmark = pytest.mark.slow

STAGES = {
    "tflite-int8": "model.int8.tflite",
    "tflite-int16x8": "model.int16x8.tflite",
    "onnx-int8": "model.int8.onnx",
    "onnx-int16x8": "model.int16x8.onnx",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized") / "bundle"
    asked = ("--precision", "onnx-int16x8,int8,int16x8,onnx-int8")
    assert run_here("export", TINY, "--recipe", TINY_RECIPE, *asked, "-o", folder, "--json").returncode == 0
    return folder


def _manifest(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return content


def test_each_file_has_its_rows_and_passes(bundle: Path) -> None:
    ledger = Ledger.from_json(json.loads((bundle / "ledger.json").read_text()))
    assert ledger.verdict == "pass"
    totals = {row.stage: row for row in ledger.rows if row.is_total}
    assert [*totals][-4:] == [*STAGES]
    assert [row.against for row in ledger.rows if not row.is_total][-4:] == ["onnx-simplified"] * 4
    errors = {stage: totals[stage].relative_l2 for stage in STAGES}  # type: ignore[index]
    assert max(errors["tflite-int16x8"], errors["onnx-int16x8"]) < errors["tflite-int8"] / 2
    assert errors["onnx-int8"] == pytest.approx(errors["tflite-int8"], rel=0.3)
    (error,) = ledger.format_errors.values()
    (bound,) = (limit for limit in totals["onnx-int16x8"].limits if limit.metric == "relative_l2")  # type: ignore[index]
    assert bound.limit == pytest.approx(2 * error.int16x8_relative_l2, rel=1e-3)


def test_the_manifest_names_them_and_the_bundle_is_whole(bundle: Path) -> None:
    manifest = _manifest(bundle)
    assert manifest["precision"] == ["int8", "int16x8", "onnx-int8", "onnx-int16x8"]
    assert manifest["artifacts"].keys() == {"model.onnx", *STAGES.values()}
    assert run_here("verify", bundle).returncode == 0
    assert run_here("diff", bundle, "--reference", TINY).returncode == 0


def test_onnx_runtime_replays_the_golden_cases_of_the_onnx_files(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "goldens"
    made = run_here("goldens", "make", bundle, "-o", folder, "--count", "2", "--reference", TINY, "--json")
    content = json.loads(made.stdout)
    assert {file["file"] for file in content["files"]} == {*STAGES.values(), "model.onnx"}
    case = content["cases"][1]
    session = onnxruntime.InferenceSession(bundle / "model.int16x8.onnx", providers=["CPUExecutionProvider"])
    [given] = session.run(None, {"input": np.load(folder / case["inputs"]["model.int16x8.onnx"]["input"])})
    expected = np.load(folder / case["expected"]["model.int16x8.onnx"]["logits"])
    assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()
    replay = ("goldens", "check", folder, "--runtime", "onnxruntime", "--json")
    assert {row["file"] for row in json.loads(run_here(*replay).stdout)["rows"]} == {
        "model.int8.onnx",
        "model.int16x8.onnx",
        "model.onnx",
    }
    one = json.loads(run_here(*replay, "--precision", "onnx-int8").stdout)
    assert {(row["file"], row["value"], row["verdict"]) for row in one["rows"]} == {("model.int8.onnx", 0.0, "pass")}
    other = run_here("goldens", "check", folder, "--precision", "onnx-int8")
    assert other.returncode == 2
    assert "litert runs .tflite files.\nAdd --runtime onnxruntime." in other.stderr


def test_onnx_runtime_and_litert_give_the_same_classes_as_float(bundle: Path) -> None:
    """Each runtime by itself, with all that it optimizes."""
    inputs = evaluation_inputs(Recipe.model_validate(_manifest(bundle)["recipe"]["content"])).inputs[INPUT]
    made = {name: _by_onnxruntime(bundle / name, inputs) for name in ("model.onnx", "model.int8.onnx")}
    made["wide"] = _by_litert(bundle / "model.int16x8.tflite", inputs)
    for one in made.values():
        np.testing.assert_array_equal(one.argmax(1), made["model.onnx"].argmax(1))


def _by_onnxruntime(path: Path, inputs: Any) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {INPUT: one[None]})[0] for one in inputs])


def _by_litert(path: Path, inputs: Any) -> Any:
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["dtype"] is given["dtype"] is np.int16
    rows = []
    for one in inputs:
        steps = np.rint(one.transpose(1, 2, 0)[None] / taken["quantization"][0])
        interpreter.set_tensor(taken["index"], np.clip(steps, -32768, 32767).astype(np.int16))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"]))
    return np.concatenate(rows)


def test_inspect_says_that_xnnpack_has_no_int16(bundle: Path) -> None:
    said = run_here("inspect", bundle / "model.int16x8.tflite").stdout
    assert "2 CONV_2D (XNNPACK has no kernels for int16: LiteRT's own run it)" in said
    found = json.loads(run_here("inspect", bundle / "model.int8.onnx", "--json").stdout)
    (file,) = found.get("files", [found])
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= file["ops"].keys()


def test_an_unknown_word_is_told_the_nearest() -> None:
    done = run_here("export", TINY, "--precision", "onnx-int4")
    assert done.returncode == 2
    assert "onnx-int8" in done.stderr
