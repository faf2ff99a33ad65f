"""The main job end to end: what a bundle holds, against runtimes and models that are not ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mobilekit.models.registry import find_model
from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms
from mobilekit.recipes.inputs.builtin import digits
from mobilekit.store.bundle import find_changes
from mobilekit.store.files import sha256_of
from tests.conftest import Cli

pytestmark = pytest.mark.slow

FILES = {
    "ledger.json",
    "manifest.json",
    "model.onnx",
    "model.float32.tflite",
    "model.float16.tflite",
    "model.dynamic.tflite",
    "model.int8.tflite",
}
FLOAT_STAGES = ("rewritten", "onnx", "onnx-simplified", "tflite-float32", "tflite-float16")


def rows_of(ledger: dict[str, Any], against: str = "reference") -> dict[str, dict[str, Any]]:
    return {row["stage"]: row for row in ledger["stages"] if row["against"] == against}


def run_litert(path: Path, image: np.ndarray) -> np.ndarray:
    """Run a float TFLite file by LiteRT alone on an NCHW image."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1).copy())
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_a_bundle_has_the_files_of_the_contract(ghostnetv2_bundle: Path) -> None:
    assert {path.name for path in ghostnetv2_bundle.iterdir() if path.is_file()} == FILES
    assert not [path for path in ghostnetv2_bundle.parent.iterdir() if path.name.startswith(".")]


def test_diff_gates_ghostnetv2(ghostnetv2_bundle: Path, cli: Cli) -> None:
    done = cli("diff", ghostnetv2_bundle, "--json")
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)
    rows = rows_of(ledger)
    assert ledger["verdict"] == "pass"
    assert rows["tflite-float32"]["max_abs"] <= 2e-5
    assert rows["tflite-float16"]["cosine"] >= 0.9999
    assert rows["tflite-int8"]["cosine"] >= 0.98
    assert rows["tflite-float32"]["max_abs"] > 0  # it was really run: float32 kernels never agree to the bit


def test_diff_repeats_what_the_export_measured(ghostnetv2_bundle: Path, cli: Cli) -> None:
    written = json.loads((ghostnetv2_bundle / "ledger.json").read_text())
    again = json.loads(cli("diff", ghostnetv2_bundle, "--json").stdout)
    assert again["stages"] == written["stages"]


def test_the_trained_example_keeps_its_accuracy(digits_bundle: Path) -> None:
    ledger = json.loads((digits_bundle / "ledger.json").read_text())
    rows = rows_of(ledger)
    assert ledger["reference_top1"] >= 0.975
    assert all(rows[stage]["top1_agreement"] == 1 for stage in FLOAT_STAGES)
    assert rows["tflite-int8"]["top1_agreement"] >= 0.99
    assert rows["tflite-int8"]["top1"] >= 0.97


@pytest.mark.parametrize("file", ["model.onnx", "model.float32.tflite"])
def test_artifacts_equal_the_reference_in_other_hands(file: str, ghostnetv2_bundle: Path) -> None:
    """ONNX Runtime and LiteRT, driven by nothing of ours, give what the reference model gives."""
    import onnxruntime

    image = np.random.default_rng(7).standard_normal((1, 3, 224, 224), dtype=np.float32)
    model = find_model("ghostnetv2").create()
    model.load_state_dict(load_file(ghostnetv2_bundle / "stages" / "reference.safetensors"))
    with torch.no_grad():
        expected = model(torch.from_numpy(image)).numpy()
    path = ghostnetv2_bundle / file
    if path.suffix == ".onnx":
        given = onnxruntime.InferenceSession(path).run(["logits"], {"input": image})[0]
    else:
        given = run_litert(path, image)
    # Two float32 evaluations; this input is noise, on which the seeded network's logits reach about 1.5.
    assert np.abs(given - expected).max() <= 2e-5
    assert np.abs(expected).max() > 0.1


def test_the_manifest_vouches_for_every_file(ghostnetv2_bundle: Path) -> None:
    manifest = json.loads((ghostnetv2_bundle / "manifest.json").read_text())
    files = {str(path.relative_to(ghostnetv2_bundle)) for path in ghostnetv2_bundle.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {"manifest.json"}
    assert all(sha256_of(ghostnetv2_bundle / name) == digest for name, digest in manifest["files"].items())
    assert manifest["tools"]["torch"].startswith("2.")
    assert manifest["model"]["weights"]["source"].startswith("seeded random weights")
    assert manifest["calibration"]["count"] == 84
    tensor = manifest["artifacts"]["model.int8.tflite"]["inputs"][0]
    assert (tensor["name"], tensor["shape"], tensor["layout"], tensor["dtype"]) == (
        "input",
        [1, 224, 224, 3],
        "NHWC",
        "int8",
    )
    # Photos normalised as the recipe says span about -2.1..2.6: 256 steps of about 0.0187.
    assert 0.015 < tensor["scale"] < 0.022


def test_verify_before_and_after_one_flipped_byte(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(digits_bundle, bundle)
    assert cli("verify", bundle).returncode == 0
    artifact = bundle / "model.float16.tflite"
    content = bytearray(artifact.read_bytes())
    content[len(content) // 2] ^= 1
    artifact.write_bytes(content)
    done = cli("verify", bundle, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["changes"] == ["model.float16.tflite is changed: its SHA-256 is not the manifest's"]


def test_a_broken_artifact_fails_and_its_stage_is_named(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    """Weights of the float32 file scaled by 1 % here and there: no other stage may take the blame."""
    bundle = tmp_path / "bundle"
    shutil.copytree(digits_bundle, bundle)
    artifact = bundle / "model.float32.tflite"
    content = bytearray(artifact.read_bytes())
    values = np.frombuffer(content, np.float32, count=1000, offset=len(content) // 2 // 4 * 4)
    values[np.isfinite(values) & (np.abs(values) < 10)] *= np.float32(1.01)
    artifact.write_bytes(content)
    done = cli("diff", bundle, "--json")
    assert done.returncode == 1
    assert "model.float32.tflite is changed" in done.stderr
    failed = {(row["stage"], row["against"]) for row in json.loads(done.stdout)["stages"] if row["verdict"] == "fail"}
    assert ("tflite-float32", "onnx-simplified") in failed
    assert not {stage for stage, _ in failed} & {"rewritten", "onnx", "onnx-simplified"}


def test_diff_on_the_users_own_inputs(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    inputs = np.random.default_rng(0).uniform(-1, 1, (5, 1, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", input=inputs, labels=np.arange(5))
    done = cli("diff", digits_bundle, "--inputs", tmp_path / "mine.npz", "--json")
    ledger = json.loads(done.stdout)
    assert ledger["inputs"]["count"] == 5
    assert rows_of(ledger)["tflite-float32"]["verdict"] == "pass"
    assert rows_of(ledger)["tflite-float32"]["top1"] in (0, 0.2, 0.4, 0.6, 0.8, 1)


def test_a_timm_checkpoint_arrives_in_tflite(tmp_path: Path, cli: Cli) -> None:
    """The whole way with somebody else's weights: LiteRT's output is timm's."""
    timm_model = import_timm().create_model("ghostnetv2_100").eval()
    calibrate_batch_norms(
        timm_model, [{"input": torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))}]
    )
    torch.save({"state_dict": timm_model.state_dict()}, tmp_path / "timm.pth")
    done = cli(
        "export", "ghostnetv2", "--weights", tmp_path / "timm.pth", "--precision", "float32", "-o", tmp_path / "out"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "random" not in done.stderr
    image = np.random.default_rng(3).standard_normal((1, 3, 224, 224), dtype=np.float32)
    with torch.no_grad():
        expected = timm_model(torch.from_numpy(image)).numpy()
    assert np.abs(run_litert(tmp_path / "out" / "model.float32.tflite", image) - expected).max() <= 1e-5


def test_inspect_a_real_artifact(ghostnetv2_bundle: Path, cli: Cli) -> None:
    described = json.loads(cli("inspect", ghostnetv2_bundle / "model.float32.tflite", "--json").stdout)
    assert described["format"] == "tflite"
    assert described["ops"]["FULLY_CONNECTED"] == 1
    assert described["size_bytes"] == (ghostnetv2_bundle / "model.float32.tflite").stat().st_size
    delegate = described["delegate"]
    assert delegate["name"] == "XNNPACK"
    assert delegate["delegated"] + len(delegate["undelegated"]) == delegate["total"] == sum(described["ops"].values())
    assert (delegate["partitions"], delegate["undelegated"]) == (1, [])
    quantised = json.loads(cli("inspect", ghostnetv2_bundle / "model.int8.tflite", "--json").stdout)["delegate"]
    assert (quantised["partitions"], quantised["undelegated"]) == (1, [])
    dynamic = json.loads(cli("inspect", ghostnetv2_bundle / "model.dynamic.tflite", "--json").stdout)["delegate"]
    assert {node["op"] for node in dynamic["undelegated"]} == {"DEPTHWISE_CONV_2D"}
    assert all(node["reason"] and node["name"] for node in dynamic["undelegated"])
    onnx = json.loads(cli("inspect", ghostnetv2_bundle / "model.onnx", "--json").stdout)
    assert onnx["inputs"] == [{"name": "input", "shape": [1, 3, 224, 224], "layout": "NCHW", "dtype": "float32"}]
    assert "BatchNormalization" not in onnx["ops"]
    assert "MatMul" not in onnx["ops"]
    # 28 of the depthwise convolutions are DFC's.
    assert onnx["ops"]["Conv"] >= 100


def test_int8_calibrates_on_the_users_photos(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, image in enumerate(digits("train")[0][:12]):
        image.point(lambda value: value // 2).save(photos / f"{index:02d}.png")
    out = tmp_path / "out"
    done = cli("export", "ghostnetv2_digits", "--calibration", photos, "--precision", "int8", "-o", out)
    assert (out / "model.int8.tflite").exists(), done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    built_in = json.loads((digits_bundle / "manifest.json").read_text())
    assert manifest["calibration"]["count"] == 12
    assert manifest["calibration"]["sha256"] != built_in["calibration"]["sha256"]
    # Pictures of half the brightness: the input's range, -1..0 after normalisation, is half of the digits'.
    scale = manifest["artifacts"]["model.int8.tflite"]["inputs"][0]["scale"]
    assert scale < 0.6 * built_in["artifacts"]["model.int8.tflite"]["inputs"][0]["scale"]
    assert find_changes(out) == []
