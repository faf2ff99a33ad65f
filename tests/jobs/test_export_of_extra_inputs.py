"""Models of several inputs go all the way, under the same names from the recipe to the artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.models.inputs import call
from tests.conftest import ROOT, Cli
from tests.nets_of_several_inputs import MASKED, STEREO, Array, Masked, Stereo, arrays_of

NETS = ROOT / "tests" / "nets_of_several_inputs.py"


EXAMPLE = ROOT / "docs" / "examples"


def export(cli: Cli, factory: str, text: str, folder: Path, *options: str | Path) -> Path:
    """Export a model of these tests in all precisions, and return the bundle, whose parity passed."""
    (folder / "mine.yaml").write_text(text)
    out = folder / "out"
    done = cli("export", f"{NETS}:{factory}", "--recipe", folder / "mine.yaml", "-o", out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("model.*.tflite"))) == 4
    return out


def reference(model: nn.Module, bundle: Path) -> nn.Module:
    from safetensors.torch import load_file

    model.load_state_dict(load_file(bundle / "stages" / "reference.safetensors"))
    return model.eval()


def one_of(array: Array) -> Array:
    """Return the first input of a batch as LiteRT takes it."""
    return array[:1].transpose(0, 2, 3, 1) if array.ndim == 4 else array[:1]


@pytest.mark.slow
def test_a_picture_a_mask_features_and_a_vector_go_all_the_way(tmp_path: Path, cli: Cli) -> None:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    bundle = export(cli, "make_masked", MASKED + "calibration: {count: 60}\n", tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert list(manifest["extra_inputs"]) == ["mask", "features", "prior"]
    assert manifest["extra_inputs"]["mask"] == {"shape": [1, 1, 32, 32], "range": [0.0, 1.0]}
    shapes = [("input", [1, 32, 32, 3]), ("mask", [1, 32, 32, 1]), ("features", [1, 8, 8, 6]), ("prior", [1, 4])]
    for name, artifact in manifest["artifacts"].items():
        taken = [(tensor["name"], tensor["shape"], tensor["layout"]) for tensor in artifact["inputs"]]
        if name == "model.onnx":
            assert taken[1] == ("mask", [1, 1, 32, 32], "NCHW")
        else:
            assert taken == [(word, shape, "NHWC" if len(shape) == 4 else None) for word, shape in shapes]
        assert [tensor["name"] for tensor in artifact["outputs"]] == ["scores", "map"]
    scales = {tensor["name"]: tensor["scale"] for tensor in manifest["artifacts"]["model.int8.tflite"]["inputs"]}
    assert scales["mask"] == pytest.approx(1 / 255, rel=0.01)  # each input has the steps of its own range
    assert scales["input"] == pytest.approx((2.64 + 2.12) / 255, rel=0.02)

    arrays = arrays_of(MASKED)
    with torch.no_grad():
        expected = call(reference(Masked(), bundle), {name: torch.from_numpy(one) for name, one in arrays.items()})
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    assert [one.name for one in session.get_inputs()] == list(arrays)
    scores, features = session.run(["scores", "map"], {name: array[:1] for name, array in arrays.items()})
    np.testing.assert_allclose(scores, expected["scores"][:1], atol=1e-5)
    interpreter = Interpreter(str(bundle / "model.float32.tflite"))
    given = interpreter.get_signature_runner()(**{name: one_of(array) for name, array in arrays.items()})
    np.testing.assert_allclose(given["scores"], expected["scores"][:1], atol=1e-5)
    np.testing.assert_allclose(given["map"].transpose(0, 3, 1, 2), features, atol=1e-5)

    np.savez(tmp_path / "own.npz", **arrays)
    spec = f"{NETS}:make_masked"
    done = cli("diff", bundle, "--reference", spec, "--inputs", tmp_path / "own.npz", "--json")
    ledger = json.loads(done.stdout)
    assert ledger["inputs"]["count"] == 3
    assert {row["verdict"] for row in ledger["stages"] if row["stage"] in ("onnx", "tflite-float32")} == {"pass"}
    del arrays["prior"]
    np.savez(tmp_path / "less.npz", **arrays)
    refused = cli("diff", bundle, "--reference", spec, "--inputs", tmp_path / "less.npz")
    assert refused.returncode == 2
    assert "nothing by the name prior" in refused.stderr


@pytest.mark.slow
def test_two_inputs_of_one_shape_are_not_mistaken_for_each_other(tmp_path: Path, cli: Cli) -> None:
    """By name and by position, in floats and in int8, calibrated from an .npz in which their ranges differ."""
    from ai_edge_litert.interpreter import Interpreter

    arrays = arrays_of(STEREO, 20)
    arrays["another"] *= np.float32(0.1)
    np.savez(tmp_path / "own.npz", another=arrays["another"], input=arrays["input"])
    limits = "limits: {tflite-int8: {relative_l2: 9, reason: photos lie far outside the range of another}}\n"
    bundle = export(cli, "make_stereo", STEREO + limits, tmp_path, "--calibration", tmp_path / "own.npz")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["calibration"]["count"] == 20
    assert manifest["calibration"]["source"] == "own.npz"
    assert manifest["extra_inputs"]["another"] == manifest["input"]
    int8 = manifest["artifacts"]["model.int8.tflite"]["inputs"]
    assert [tensor["name"] for tensor in int8] == ["input", "another"]
    assert int8[0]["scale"] == pytest.approx(10 * int8[1]["scale"], rel=0.2)

    model = reference(Stereo(), bundle)
    one, another = (torch.from_numpy(array[:1]) for array in arrays.values())
    with torch.no_grad():
        expected, swapped = model(one, another).numpy(), model(another, one).numpy()
    assert np.abs(expected - swapped).max() > 0.5
    for name, limit in (("float32", 1e-5), ("float16", 1e-2), ("dynamic", 1e-5), ("int8", 0.2)):
        interpreter = Interpreter(str(bundle / f"model.{name}.tflite"))
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), arrays.values(), strict=True):
            interpreter.set_tensor(detail["index"], steps(one_of(array), detail))
        interpreter.invoke()
        (detail,) = interpreter.get_output_details()
        scale, zero = detail["quantization"]
        got = interpreter.get_tensor(detail["index"])
        values = (got.astype(np.float32) - zero) * scale if scale else got
        assert np.abs(values.transpose(0, 3, 1, 2) - expected).max() < limit, name


def steps(values: Array, detail: dict[str, Any]) -> NDArray[Any]:
    """Return values as an input of this description has them."""
    scale, zero = detail["quantization"]
    return (
        np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8) if scale else np.ascontiguousarray(values)
    )


@pytest.mark.slow
def test_the_example_of_the_documents_passes(tmp_path: Path, cli_apart: Cli) -> None:
    out = tmp_path / "out"
    done = cli_apart(
        "export", f"{EXAMPLE}/change.py:make_change", "--recipe", EXAMPLE / "change.yaml", "-o", out, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    described = json.loads(cli_apart("inspect", out / "model.int8.tflite", "--json").stdout)
    assert [tensor["name"] for tensor in described["inputs"]] == ["input", "before", "mask"]
