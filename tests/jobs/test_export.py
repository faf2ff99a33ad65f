"""The main job end to end: what a bundle holds, against runtimes that are not ours; whole families are in tests/zoo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilekit.store.bundle import find_changes
from mobilekit.store.files import sha256_of
from tests.conftest import Cli
from tests.other_hands import largest_difference
from tests.tiny import TINY

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


def test_a_bundle_has_the_files_of_the_contract(digits_bundle: Path) -> None:
    assert {path.name for path in digits_bundle.iterdir() if path.is_file()} == FILES
    assert not [path for path in digits_bundle.parent.iterdir() if path.name.startswith(".")]


def test_diff_repeats_what_the_export_measured(digits_bundle: Path, cli_apart: Cli) -> None:
    done = cli_apart("diff", digits_bundle, "--json")
    assert done.returncode == 0, done.stderr
    ledger, written = json.loads(done.stdout), json.loads((digits_bundle / "ledger.json").read_text())
    assert ledger["verdict"] == "pass"
    assert ledger["stages"] == written["stages"]
    assert rows_of(ledger)["tflite-float32"]["max_abs"] > 0  # it was really run: float32 kernels never agree to the bit
    assert rows_of(ledger)["tflite-float16"]["cosine"] >= 0.9999


@pytest.mark.parametrize("file", ["model.onnx", "model.float32.tflite"])
def test_artifacts_equal_the_reference_in_other_hands(file: str, digits_bundle: Path) -> None:
    """ONNX Runtime and LiteRT, driven by nothing of ours, give what the reference model gives."""
    difference, scale = largest_difference("ghostnetv2_digits", digits_bundle, file)
    assert difference <= 2e-6 * scale  # two float32 evaluations; 2^-24 is 6e-8
    assert scale > 1


def test_the_manifest_vouches_for_every_file(digits_bundle: Path) -> None:
    manifest = json.loads((digits_bundle / "manifest.json").read_text())
    files = {str(path.relative_to(digits_bundle)) for path in digits_bundle.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {"manifest.json"}
    assert all(sha256_of(digits_bundle / name) == digest for name, digest in manifest["files"].items())
    assert manifest["tools"]["torch"].startswith("2.")
    assert manifest["calibration"]["count"] == 100
    (tensor,) = manifest["artifacts"]["model.int8.tflite"]["inputs"]
    described = [tensor[key] for key in ("name", "shape", "layout", "dtype")]
    assert described == ["input", [1, 32, 32, 1], "NHWC", "int8"]
    assert tensor["scale"] == pytest.approx(2 / 255, rel=0.02)  # digits span -1 to 1


def test_the_trained_example_keeps_its_accuracy(digits_bundle: Path) -> None:
    ledger = json.loads((digits_bundle / "ledger.json").read_text())
    rows = rows_of(ledger)
    assert ledger["reference_top1"] >= 0.975
    assert all(rows[stage]["top1_agreement"] == 1 for stage in FLOAT_STAGES)
    assert rows["tflite-int8"]["top1_agreement"] >= 0.99
    assert rows["tflite-int8"]["top1"] >= 0.97


def test_verify_before_and_after_one_flipped_byte(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
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


def test_int8_calibrates_on_the_users_photos(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    photos, recipe, out = tmp_path / "photos", tmp_path / "recipe.yaml", tmp_path / "out"
    photos.mkdir()
    for index in range(12):
        dark = np.random.default_rng(index).integers(0, 128, (30, 40, 3), np.uint8)
        Image.fromarray(dark).save(photos / f"{index:02d}.png")
    recipe.write_text("input: {size: 24, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}\n")
    done = cli("export", TINY, "--recipe", recipe, "--calibration", photos, "--precision", "int8", "-o", out)
    assert (out / "model.int8.tflite").exists(), done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    built_in = json.loads((tiny_bundle / "manifest.json").read_text())
    assert manifest["calibration"]["count"] == 12
    assert manifest["calibration"]["sha256"] != built_in["calibration"]["sha256"]
    # Pictures of at most half the brightness, which is 0 after normalization: the input's range is -1 to 0.
    (tensor,) = manifest["artifacts"]["model.int8.tflite"]["inputs"]
    assert tensor["scale"] == pytest.approx(1 / 255, rel=0.15)  # what resizing overshoots is in it
    assert find_changes(out) == []


def test_inspect_a_real_artifact(digits_bundle: Path, cli: Cli) -> None:
    def inspect(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(cli("inspect", digits_bundle / name, "--json").stdout)
        return content

    described = inspect("model.float32.tflite")
    assert described["format"] == "tflite"
    assert described["ops"]["FULLY_CONNECTED"] == 1
    assert described["size_bytes"] == (digits_bundle / "model.float32.tflite").stat().st_size
    delegate = described["delegate"]
    assert delegate["name"] == "XNNPACK"
    assert delegate["delegated"] + len(delegate["undelegated"]) == delegate["total"] == sum(described["ops"].values())
    for precision in ("float32", "dynamic", "int8"):
        delegate = inspect(f"model.{precision}.tflite")["delegate"]
        assert (delegate["partitions"], delegate["undelegated"]) == (1, [])
    onnx = inspect("model.onnx")
    assert onnx["inputs"] == [{"name": "input", "shape": [1, 1, 32, 32], "layout": "NCHW", "dtype": "float32"}]
    assert onnx["ops"]["Conv"] >= 100  # 28 of the depthwise convolutions are DFC's
    assert not {"BatchNormalization", "MatMul"} & set(onnx["ops"])
