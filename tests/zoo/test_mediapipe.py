"""MediaPipe's ImageClassifier gives the labels and scores that LiteRT has on the picture which MediaPipe scaled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from benchmarks.scalers import of_mediapipe
from mobilekit.artifacts.analysis.mediapipe import tasks_for, why_refused
from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.litert import LiteRTRuntime
from tests.conftest import Cli

PRECISIONS = ("float32", "float16", "dynamic", "int8")
CLASSES = 10
NAMES = [f"class {number}" for number in range(CLASSES)]
TRAINED = """
import torch
import mobilekit


class Colored(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mobilekit.load_model("ghostnetv2_digits")

    def forward(self, image):
        return self.net(image.mean(1, keepdim=True))


make = Colored
"""
"""The trained network of handwritten digits, of pictures in color."""


def recipe_of(size: int, **parts: Any) -> str:
    """A recipe of files that take bytes, and in int8 give uint8."""
    said = {
        "input": {"size": size, "mean": [0.5] * 3, "std": [0.5] * 3, "dtype": "uint8", "crop": 1.0},
        "int8": {"io": "uint8"},
        "labels": NAMES,
        "calibration": {"count": 16},
        "precision": list(PRECISIONS),
        **parts,
    }
    return yaml.safe_dump(said)


def photos() -> NDArray[np.uint8]:
    """Return four pictures that are larger than the input, and not square: (4, 150, 210, 3)."""
    from sklearn.datasets import load_sample_images

    flower, temple = load_sample_images().images
    return np.stack([each[row : row + 300 : 2, :420:2] for each in (flower, temple) for row in (0, 100)])


def digits() -> NDArray[np.uint8]:
    """Return the first ten handwritten digits of scikit-learn, 0 to 9, in color: (10, 64, 64, 3)."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[:CLASSES] * 255 / 16).astype(np.uint8)
    return pixels.repeat(8, 1).repeat(8, 2)[..., None].repeat(3, 3)


FAMILIES = {
    "ghostnet": {"model_options": {"width": 0.5, "num_classes": CLASSES}},
    "shufflenet": {"model_options": {"num_classes": CLASSES}},
}


@pytest.fixture(scope="module", params=[*FAMILIES, "trained"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A bundle of two families with random weights, or of a trained network."""
    folder, model = tmp_path_factory.mktemp(request.param), request.param
    (folder / "recipe.yaml").write_text(recipe_of(64, **FAMILIES[model]) if model in FAMILIES else recipe_of(32))
    if model not in FAMILIES:
        (folder / "net.py").write_text(TRAINED)
        model = f"{folder / 'net.py'}:make"
    done = cli("export", model, "--recipe", folder / "recipe.yaml", "-o", folder / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_are_litert_s(exported: Path, precision: str) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    path = exported / f"model.{precision}.tflite"
    found, runtime = inspect(path), LiteRTRuntime(path)
    assert (why_refused(found), tasks_for(found)[0]) == (None, "ImageClassifier")
    _, height, width, _ = runtime.inputs[0].shape
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
    is_trained = (exported.parent / "net.py").exists()
    best = []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for pixels in digits() if is_trained else photos():
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
            given = classifier.classify(image).classifications[0].categories
            scaled = of_mediapipe(np.ascontiguousarray(pixels), (height, width))
            assert np.array_equal(scaled, scaled.astype(np.uint8)), "bytes, as the file takes them"
            (expected,) = runtime.run({"input": scaled.transpose(2, 0, 1)[None].astype(np.float32)}).values()
            assert {each.index: each.category_name for each in given} == dict(enumerate(NAMES))
            scores = np.float32([each.score for each in sorted(given, key=lambda each: each.index)])
            np.testing.assert_array_equal(scores, expected[0])
            best.append(given[0].index)
    right = sum(index == place for place, index in enumerate(best))
    assert not is_trained or right >= 8, "of ten digits that were scaled another way"
