"""The same export gives the same bytes: elsewhere, on another day, in another order of hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from mobilekit.errors import UsageError
from mobilekit.jobs.artifacts import Made
from mobilekit.jobs.verify import _calibration, rebuild
from mobilekit.parity.ranges.result import RangeLint
from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.load import load_recipe
from mobilekit.store.bundle import Bundle, open_bundle, write_manifest
from mobilekit.store.files import sha256_of
from tests.conftest import ROOT, Cli
from tests.tiny import TINY

ARTIFACTS = ("model.onnx", "stages/unsimplified.onnx", *(f"model.{p}.tflite" for p in ("float32", "int8")))
ANOTHER_DAY = """
import datetime, time
_time, _day = time.time, datetime.datetime
time.time = lambda: _time() + 4e7
class Later(_day):
    @classmethod
    def now(cls, tz=None):
        return _day.now(tz) + datetime.timedelta(seconds=4e7)
datetime.datetime = Later
"""


def test_a_rebuild_elsewhere_on_another_day_gives_the_same_bytes(
    tiny_bundle: Path, tmp_path: Path, cli_apart: Cli
) -> None:
    """Nothing cached, and another folder, date, time zone, language and order of hashes."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(ANOTHER_DAY)
    done = cli_apart(
        "verify",
        tiny_bundle,
        "--rebuild",
        "--reference",
        TINY,
        "--json",
        cwd=tmp_path,
        PYTHONPATH=f"{tmp_path / 'python'}:{ROOT}",
        PYTHONHASHSEED="7",
        TMPDIR=str(tmp_path),
        TZ="Asia/Tokyo",
        LC_ALL="C",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(done.stdout)["rebuild"]
    expected = open_bundle(tiny_bundle).manifest["files"]
    del expected["ledger.json"], expected["stages/reference.safetensors"]
    assert set(ARTIFACTS) <= set(expected)
    assert {file["file"]: file["rebuilt_sha256"] for file in content["files"]} == expected
    assert (content["verdict"], content["tools"]) == ("pass", {})
    assert {path.name for path in tmp_path.iterdir()} == {"python"}, "scratch files are left"


def test_no_artifact_names_where_it_was_made(digits_bundle: Path) -> None:
    for name in ARTIFACTS:
        content = (digits_bundle / name).read_bytes()
        assert b"/tmp" not in content and bytes(digits_bundle.parent.parent) not in content, name


def test_a_rebuild_says_which_file_differs_and_how(
    digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight of the ONNX file is planted, and the manifest vouches for it."""

    def make_artifacts(folder: Path, *_arguments: object) -> Made:  # a conversion takes long, and is tested above
        shutil.copytree(digits_bundle, folder, dirs_exist_ok=True)
        return Made(RangeLint(0, ()), ())

    monkeypatch.setattr("mobilekit.jobs.verify.make_artifacts", make_artifacts)
    bundle = tmp_path / "bundle"
    shutil.copytree(digits_bundle, bundle)
    model = onnx.load(bundle / "model.onnx")
    weight = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += 0.25
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    model.producer_name = "somebody else"
    onnx.save(model, bundle / "model.onnx")
    manifest = open_bundle(bundle).manifest
    vouched = {key: value for key, value in manifest.items() if key not in ("files", "self_sha256")}
    write_manifest(bundle, {**vouched, "tools": {**manifest["tools"], "onnx": "0.1"}})
    result = rebuild(open_bundle(bundle))
    assert result.verdict == "fail"
    (other,) = (file for file in result.files if not file.same)
    assert other.file == "model.onnx" and other.rebuilt_sha256 == sha256_of(digits_bundle / "model.onnx")
    metadata, weights = other.differences
    assert metadata == f"metadata producer: 'somebody else 2.13.0' -> 'pytorch {model.producer_version}'"
    assert weights.startswith("weights: 1 of ") and weights.endswith(f"differ, by 0.25 in {weight.name}")
    assert set(result.tools) == {"onnx"} and result.tools["onnx"][0] == "0.1"


OLD = dict.fromkeys(("numpy", "pillow", "scikit-image", "scikit-learn", "torch"), "0.1")


def make_bundle(source: str, digest: str) -> Bundle:
    return Bundle(Path("somewhere"), {"calibration": {"source": source, "count": 3, "sha256": digest}, "tools": OLD})


def test_calibration_of_the_users_own_must_be_given_again(tmp_path: Path) -> None:
    recipe = load_recipe("ghostnetv2_digits").recipe
    bundle = make_bundle("photos", "0" * 64)
    with pytest.raises(UsageError, match="3 inputs of yours, photos"):
        _calibration(bundle, recipe, None)
    np.savez(tmp_path / "other.npz", input=np.zeros((3, 1, 32, 32), np.float32))
    with pytest.raises(UsageError, match="holds other inputs than"):
        _calibration(bundle, recipe, tmp_path / "other.npz")


def test_built_in_calibration_is_checked_by_its_digest() -> None:
    recipe = load_recipe("ghostnetv2_digits").recipe
    with pytest.raises(UsageError, match="no longer those") as caught:
        _calibration(make_bundle("built-in digits", "0" * 64), recipe, None)
    assert caught.value.hint == "Other versions now: numpy, pillow, scikit-image, scikit-learn."
    expected = hashlib.sha256(calibration_inputs(recipe)["input"].tobytes()).hexdigest()
    assert _calibration(make_bundle("built-in digits", expected), recipe, None).digest == expected


def test_options_of_a_rebuild_need_it(tmp_path: Path, cli: Cli) -> None:
    done = cli("verify", tmp_path, "--calibration", tmp_path)
    assert done.returncode == 2
    assert "belong to --rebuild" in done.stderr


# What differs between two files.


def test_verify_inside_of_a_bundle(cli: Cli) -> None:
    done = cli("verify", ".", cwd=ROOT / "tests" / "data" / "written_by_0_1" / "bundle")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bundle is as it was exported")
