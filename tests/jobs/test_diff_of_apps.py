"""`mobilekit diff --app`: rows of apps beside the stages, that fail nothing unless the recipe holds them to a share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import mobilekit
from mobilekit.cli.schema import schema_of
from mobilekit.recipes.inputs.builtin import EVALUATION_PHOTOS, photo_views
from tests.conftest import Cli
from tests.tiny import TINY


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in a folder for each class, the same names in both."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (_name, image) in enumerate(photo_views(EVALUATION_PHOTOS, 1)):
        place = folder / "abcd"[number] / "photo.png"
        place.parent.mkdir()
        image.save(place)
    return folder


def test_every_row_and_the_picture_that_changes_most(tiny_bundle: Path, photos: Path, cli: Cli) -> None:
    done = cli("diff", tiny_bundle, "--reference", TINY, "--inputs", photos, "--app", "all", "--json")
    assert done.returncode == 0, "what apps make fails nothing by itself"
    content = json.loads(done.stdout)
    Draft202012Validator(schema_of("diff")).validate(content)
    rows = {row["app"]: row for row in content["apps"]}
    assert list(rows)[:5] == ["android", "browser", "mediapipe", "opencv", "tf"]
    assert "planes" in rows and "cropped" not in rows
    assert rows["android"]["relative_l2"] == rows["opencv"]["relative_l2"] > 0
    assert {row["file"] for row in rows.values()} == {"model.float32.tflite"}
    assert rows["bytes"]["worst"] in {f"{name}/photo.png" for name in "abcd"}
    assert rows["bytes"]["worst_relative_l2"] >= rows["bytes"]["relative_l2"] > rows["unit"]["relative_l2"]
    assert all(row["top1"] is not None for row in rows.values())


def test_the_verdict_in_words(tiny_bundle: Path, cli: Cli) -> None:
    done = cli("diff", tiny_bundle, "--reference", TINY, "--app", "mediapipe,bytes")
    assert done.returncode == 0
    assert "than int8: app-mediapipe is " in done.stdout
    assert "app-bytes, 0..255, not normalized: " in done.stdout and " view 1 changes most" in done.stdout
    assert "app-android" not in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--app", "androit"), "There is no app androit"),
        (("--app", ""), "--app names nothing"),
        (("--app", "tf", "--inputs", "{npz}"), r"--app starts at pictures, and "),
    ],
)
def test_what_is_refused(tiny_bundle: Path, tmp_path: Path, cli: Cli, options: tuple[str, ...], says: str) -> None:
    np.savez(tmp_path / "a.npz", input=np.zeros((2, 3, 24, 24), np.float32))
    words = [word.format(npz=tmp_path / "a.npz") for word in options]
    done = cli("diff", tiny_bundle, "--reference", TINY, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_candidate_has_no_pictures(tmp_path: Path, cli: Cli) -> None:
    done = cli("diff", "--candidate", tmp_path / "a.tflite", "--reference", TINY, "--app", "tf")
    assert done.returncode == 2 and "--app goes with a bundle" in done.stderr


@pytest.mark.slow
def test_gates_hold_an_export_and_later_diffs(tmp_path: Path, photos: Path, cli: Cli) -> None:
    recipe = tmp_path / "held.yaml"
    recipe.write_text(
        "input: {size: 24}\nprecision: [float32]\nrewrites: []\n"
        "gates: {app: {android: {agreement: 0}, mediapipe: {agreement: 1}}}\n"
    )
    made = tmp_path / "made"
    done = cli("export", TINY, "--recipe", recipe, "--inputs", photos, "-o", made)
    kept = mobilekit.open_bundle(made).ledger
    rows = {row["app"]: row for row in kept["apps"]}
    assert list(rows) == ["android", "mediapipe"]
    gates = {gate["gate"]: gate["verdict"] for gate in kept["gates"]}
    is_same = rows["mediapipe"]["top1_agreement"] == 1
    assert gates == {"app-android": "pass", "app-mediapipe": "pass" if is_same else "fail"}
    assert done.returncode == (0 if is_same else 1)
    again = mobilekit.diff(made, photos, TINY, app="bgr")
    assert [row.app for row in again.apps] == ["android", "mediapipe", "bgr"]
    arrays = tmp_path / "a.npz"
    np.savez(arrays, input=np.random.default_rng(0).random((4, 3, 24, 24), np.float32))
    unknown = mobilekit.diff(made, arrays, TINY)
    assert {gate.verdict for gate in unknown.gates} == {"inconclusive"} and not unknown.apps


def test_a_gate_on_a_mistake_is_refused(tmp_path: Path, cli: Cli) -> None:
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("gates:\n  app: {bgr: {agreement: 0.5}}\n")
    done = cli("recipes", "check", recipe)
    assert done.returncode == 2
    assert "wrong.yaml:2" in done.stderr and "'android'" in done.stderr
