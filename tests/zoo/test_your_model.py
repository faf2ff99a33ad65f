"""Each command of docs/your-model.md runs, and comes to what the page says; where pip can download the wheels."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.your_model import HEAD, as_run, commands, prepare, rows_of
from mobilekit.artifacts.litert import LiteRTRuntime

FEWEST_RIGHT = {"lite1_guess": 0.75, "lite1": 0.8, "mobilenet_v2": 0.75, "marks": 0.9}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have run, in their order."""
    pytest.importorskip("torchvision")
    folder = tmp_path_factory.mktemp("your-model")
    environment = prepare(folder)
    first, *others = commands()
    fetched = subprocess.run(
        as_run(first), cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=600
    )
    if "pip could not download" in fetched.stderr:
        pytest.skip(f"pip cannot download the wheels: {fetched.stderr.strip().splitlines()[-1]}")
    assert fetched.returncode == 0, fetched.stderr
    for words in others:
        done = subprocess.run(as_run(words), cwd=folder, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return folder


@pytest.mark.parametrize("name", FEWEST_RIGHT)
def test_every_stage_is_right_on_labeled_pictures(walked: Path, name: str) -> None:
    ledger = json.loads((walked / "out" / name / "ledger.json").read_text())
    shares = {row["stage"]: row["top1"] for row in ledger["stages"] if row["against"] == "reference"}
    assert len(shares) == 7
    assert min(shares.values()) >= FEWEST_RIGHT[name], shares
    assumed = {"lite1_guess": ["color", "normalization", "crop", "calibration"], "marks": []}
    assert ledger["assumed"] == assumed.get(name, ["calibration"])


@pytest.mark.parametrize("name", ["lite1", "mobilenet_v2", "marks", "rnet", "pnet"])
def test_files_take_bytes_and_float_ones_are_whole(walked: Path, name: str) -> None:
    manifest = json.loads((walked / "out" / name / "manifest.json").read_text())
    assert {one["dtype"] for file in manifest["artifacts"].values() for one in file["inputs"]} == {"uint8"}
    files = json.loads((walked / "out" / name / "ledger.json").read_text())["artifacts"]
    assert [files[f"model.{precision}.tflite"]["partitions"] for precision in ("float32", "float16")] == [1, 1]


@pytest.mark.parametrize("name", ["lite1", "mobilenet_v2"])
@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic"])
def test_mediapipe_classifies_as_litert_does(walked: Path, name: str, precision: str) -> None:
    """On pictures of the input's size, of trained networks."""
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    path = walked / "out" / name / f"model.{precision}.tflite"
    runtime = LiteRTRuntime(path)
    _, height, width, _ = runtime.inputs[0].shape
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for photo in sorted((walked / "own" / "photos").glob("*.jpg"))[:4]:
            pixels = np.asarray(Image.open(photo).convert("RGB").resize((width, height)))
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            found = classifier.classify(image).classifications[0].categories
            scores = np.float32([each.score for each in sorted(found, key=lambda each: each.index)])
            (expected,) = runtime.run({"input": pixels.transpose(2, 0, 1)[None].astype(np.float32)}).values()
            np.testing.assert_array_equal(scores, expected[0])


@pytest.mark.parametrize(("name", "fewest"), [("pnet", 80.0), ("rnet", 60.0)])
def test_faces_are_kept(walked: Path, name: str, fewest: float) -> None:
    rows = {row[0]: row[1:] for row in rows_of(walked / "out" / name, walked)}
    shares = dict(zip(HEAD[3:], map(float, rows["faces kept, %"][1:]), strict=True))
    assert shares["float32"] == 100
    assert min(shares.values()) >= fewest


def test_the_page_is_there(walked: Path) -> None:
    assert "XNNPACK" in (walked / "out" / "marks.html").read_text()
