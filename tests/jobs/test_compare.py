"""An artifact that was made elsewhere: inputs and outputs of other names, orders and layouts, and wrong requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn
from typer.testing import CliRunner, Result

from mobilekit.artifacts.analysis.precision import precision_of
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.cli.app import application
from mobilekit.convert.onnx import write_onnx
from mobilekit.errors import MobilekitError, UsageError
from mobilekit.parity.bisect.pairing import pair_inputs, pair_outputs
from mobilekit.rewrites.fx.graph import trace
from tests.conftest import ROOT
from tests.faulty_nets import SIZE, make
from tests.programs import TWO_PARTS
from tests.tflite_by_hand import make_tflite

FACTORY = f"{ROOT / 'tests' / 'faulty_nets.py'}:make"


def write(path: Path, model: nn.Module | None = None) -> Path:
    shape = (1, 3, SIZE, SIZE)
    write_onnx(trace(model or make(), {"input": torch.zeros(shape)}), {"input": shape}, path)
    return path


def diff(*arguments: str | Path) -> tuple[Result, MobilekitError | None]:
    result = CliRunner().invoke(application(), ["diff", *map(str, arguments)])
    error = result.exception if isinstance(result.exception, MobilekitError) else None
    return result, error


def two_outputs(path: Path) -> OnnxRuntime:
    """An identity by the name of another, and a transposition to NHWC."""
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["map"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
    ]
    taken = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 2, 3, 3])
    made = [
        helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 3, 3, 2]),
        helper.make_tensor_value_info("means", TensorProto.FLOAT, [1, 2]),
    ]
    graph = helper.make_graph(nodes, "two", [taken], made)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return OnnxRuntime(path)


def test_outputs_in_another_order_and_layout_are_the_references(tmp_path: Path) -> None:
    x: NDArray[np.float32] = np.random.default_rng(0).standard_normal((3, 2, 3, 3), dtype=np.float32)
    paired = pair_inputs(two_outputs(tmp_path / "two.onnx"), {"input": (1, 2, 3, 3)})
    wanted = {"logits": x[:1].mean((2, 3)), "features": x[:1]}
    pair_outputs(paired, {"input": x[:1]}, wanted)
    assert paired.own_outputs == {"logits": "means", "features": "map"}
    got = paired.run({"input": x})
    np.testing.assert_array_equal(got["features"], x)
    np.testing.assert_allclose(got["logits"], x.mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert paired.notes == [
        "output means is taken as logits, by its values",
        "output map is taken as features, by its values",
    ]


def test_an_output_that_is_missing_is_named(tmp_path: Path) -> None:
    paired = pair_inputs(two_outputs(tmp_path / "two.onnx"), {"input": (1, 2, 3, 3)})
    x = np.ones((1, 2, 3, 3), np.float32)
    with pytest.raises(UsageError, match="gives map of 1x3x3x2 and means of 1x2, and the reference logits of 1x5"):
        pair_outputs(paired, {"input": x}, {"logits": np.ones((1, 5), np.float32)})


@pytest.mark.parametrize("wanted", [{"input": (1, 2, 4, 4)}, {"a": (1, 2, 3, 3), "b": (1, 2, 3, 3)}])
def test_other_inputs_are_refused(wanted: Mapping[str, tuple[int, ...]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes pixels of 1x2x3x3, and the reference"):
        pair_inputs(two_outputs(tmp_path / "two.onnx"), wanted)


def test_a_right_artifact_passes_and_a_wrong_one_fails(tmp_path: Path) -> None:
    right, _ = diff("--reference", FACTORY, "--candidate", write(tmp_path / "right.onnx"), "--json")
    told = json.loads(right.stdout)
    assert (right.exit_code, told["verdict"], len(told["stages"])) == (0, "pass", 1)
    assert {"max_abs", "mean_abs", "relative_l2", "cosine", "psnr_db", "top1_agreement"} <= set(told["stages"][0])
    wrong, _ = diff("--reference", FACTORY, "--candidate", write(tmp_path / "wrong.onnx", make("act")))
    assert wrong.exit_code == 1
    assert wrong.stdout.startswith("fail: ") and "--bisect DIR" in wrong.stdout


def test_nothing_is_written_where_nothing_is_wrong(tmp_path: Path) -> None:
    result, _ = diff(
        "--reference", FACTORY, "--candidate", write(tmp_path / "right.onnx"), "--bisect", tmp_path / "fault"
    )
    assert result.exit_code == 0 and "nothing to bisect" in result.stdout
    assert not (tmp_path / "fault").exists()


def test_an_onnx_reference_takes_own_inputs(tmp_path: Path) -> None:
    right, wrong = write(tmp_path / "right.onnx"), write(tmp_path / "wrong.onnx", make("pool"))
    x = np.random.default_rng(4).standard_normal((2, 3, SIZE, SIZE)).astype(np.float32)
    np.savez(tmp_path / "own.npz", input=x)
    result, _ = diff("--reference", right, "--candidate", wrong, "--inputs", tmp_path / "own.npz", "--json")
    row = json.loads(result.stdout)["stages"][0]
    truth, other = (OnnxRuntime(path).run({"input": x})["logits"] for path in (right, wrong))
    assert row["max_abs"] == pytest.approx(np.abs(truth - other).max())
    _, error = diff("--reference", right, "--candidate", wrong, "--inputs", tmp_path)
    assert error and "is no .npz" in error.what


def net_of_classes(count: int) -> nn.Module:
    net: Any = make()
    net.head = nn.Linear(12, count)
    return net


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to measure"),
        (["--candidate", "x.tflite"], "needs the model"),
        (["folder", "--candidate", "x.tflite"], "both given"),
        (["folder", "--weights", "x.pth"], "--weights goes with --candidate"),
        (["--reference", "ghostnetv2", "--candidate", "nowhere.tflite"], "There is no file nowhere.tflite"),
        (["--reference", "nowhere.onnx", "--candidate", "CLASSES"], "There is no file nowhere.onnx"),
        (["--reference", "ghostnetv2", "--candidate", "tests"], "tests is a folder"),
        (
            ["--reference", FACTORY, "--candidate", "RUBBISH"],
            "LiteRT cannot open {folder}/rubbish.tflite: it is not a whole TFLite file",
        ),
        (["--reference", FACTORY, "--candidate", "CLASSES"], "gives logits of 1x7, and the reference logits of 1x10"),
        (["--reference", "ghostnetv2_digits", "--candidate", "CLASSES"], "the reference input of 1x1x24x24"),
        (["--reference", FACTORY, "--candidate", "CLASSES", "--bisect", "FULL"], "is not empty"),
        (["--reference", FACTORY, "--candidate", str(TWO_PARTS), "--bisect", "x"], "which ExecuTorch does not show"),
    ],
)
def test_wrong_requests_are_explained(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "rubbish.tflite").write_bytes(b"rubbish")
    named = {"RUBBISH": str(tmp_path / "rubbish.tflite"), "FULL": str(tmp_path)}
    if "CLASSES" in arguments:
        named["CLASSES"] = str(write(tmp_path / "classes.onnx", net_of_classes(7)))
    result, error = diff(*(named.get(word, word) for word in arguments))
    assert error is not None, result.output
    assert words.format(folder=tmp_path) in error.what
    assert error.exit_code in (2, 4)


def test_a_references_name_shows_no_folder(tmp_path: Path) -> None:
    from mobilekit.cli.candidates import open_candidate
    from mobilekit.cli.diff_request import DiffRequest

    pair = open_candidate(DiffRequest(candidate=write(tmp_path / "net.onnx"), reference=FACTORY))
    assert pair.name == "faulty_nets.py:make"


@pytest.mark.parametrize("option", ["recipe", "weights", "calibration"])
def test_an_onnx_reference_has_all_of_its_own(option: str, tmp_path: Path) -> None:
    from mobilekit.cli.candidates import open_candidate
    from mobilekit.cli.diff_request import DiffRequest

    path = write(tmp_path / "net.onnx")
    request = DiffRequest(candidate=path, reference=str(path), **{option: tmp_path / "given"})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"--{option} is for a PyTorch model"):
        open_candidate(request)


def test_the_format_is_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"]))
    assert LiteRTRuntime(path).inputs[0].shape == (1, 4)
    assert precision_of(path) == precision_of(TWO_PARTS) == "float32"
    model = onnx.load(write(tmp_path / "net.onnx"))
    assert precision_of(tmp_path / "net.onnx") == "float32"
    model.graph.node[0].op_type = "QLinearConv"
    onnx.save(model, tmp_path / "int8.onnx")
    assert precision_of(tmp_path / "int8.onnx") == "int8"
