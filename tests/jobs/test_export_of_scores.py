"""An export whose recipe puts a softmax behind the model: reference, files and every command speak of scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.open import open_artifact
from mobilekit.models.build import load_state
from mobilekit.store.bundle import open_bundle
from tests.conftest import Cli
from tests.tiny import TINY, make_tiny

pytestmark = pytest.mark.slow

RECIPE = """
input: {size: 24, dtype: uint8}
output: {activation: softmax}
int8: {io: uint8}
precision: [float32, int8]
calibration: {count: 8}
"""
LARGEST_ERROR = {"model.onnx": 1e-6, "model.float32.tflite": 1e-6, "model.int8.tflite": 4 / 256}


@pytest.fixture(scope="module")
def scores(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    (folder / "scores.yaml").write_text(RECIPE)
    done = cli("export", TINY, "--recipe", folder / "scores.yaml", "-o", folder / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


@pytest.mark.parametrize("file", LARGEST_ERROR)
def test_files_give_the_softmax_of_the_models_logits(scores: Path, file: str) -> None:
    model = make_tiny()
    load_state(model, scores / "stages" / "reference.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 24, 24)).astype(np.float32)
    mean, std = (np.float32(values).reshape(1, 3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy((pixels / 255 - mean) / std)).double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = open_artifact(scores / file).run({"input": pixels})
    assert list(given) == ["probabilities"]
    np.testing.assert_allclose(given["probabilities"], expected, rtol=0, atol=LARGEST_ERROR[file])


def test_uint8_scores_are_parts_of_256(scores: Path) -> None:
    (given,) = inspect(scores / "model.int8.tflite").outputs
    assert (given.dtype, given.scale, given.zero_point) == ("uint8", 1 / 256, 0)  # type: ignore[union-attr]


def test_commands_measure_it_against_the_scores(scores: Path, cli: Cli) -> None:
    assert open_bundle(scores).manifest["recipe"]["content"]["output"] == {"activation": "softmax"}
    done = cli("diff", scores, "--reference", TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["output"] for row in json.loads(done.stdout)["stages"]} == {"probabilities"}
    again = cli("verify", scores, "--rebuild", "--reference", TINY)
    assert again.returncode == 0, again.stdout + again.stderr
