"""The whole way with somebody else's weights, and with somebody else's network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mobilekit.jobs.export import ExportRequest, export
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms
from mobilekit.store.cache import NoCache
from tests.conftest import Cli
from tests.other_hands import run_litert
from tests.zoo import MODELS


@pytest.mark.parametrize("model", [model for model in MODELS if model == "ghostnetv2"])
def test_a_timm_checkpoint_arrives_in_tflite(model: str, tmp_path: Path, cli: Cli) -> None:
    """LiteRT's output is timm's."""
    timm_model = import_timm().create_model("ghostnetv2_100").eval()
    calibrate_batch_norms(
        timm_model, [{"input": torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))}]
    )
    torch.save({"state_dict": timm_model.state_dict()}, tmp_path / "timm.pth")
    done = cli("export", model, "--weights", tmp_path / "timm.pth", "--precision", "float32", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "random" not in done.stderr
    image = np.random.default_rng(3).standard_normal((1, 3, 224, 224), dtype=np.float32)
    with torch.no_grad():
        expected = timm_model(torch.from_numpy(image)).numpy()
    assert np.abs(run_litert(tmp_path / "out" / "model.float32.tflite", image) - expected).max() <= 1e-5


@pytest.mark.parametrize("model", [model for model in MODELS if model == "ghostnet"])
def test_a_timm_model_goes_all_the_way(model: str, tmp_path: Path) -> None:
    """No model of the zoo; it goes with the one that is quickest to convert."""
    loaded = recipe_of_model("timm:mobilenetv3_large_100")
    assert loaded.recipe.input.crop == 0.875
    loaded = type(loaded)("default", loaded.recipe.model_copy(update={"precision": ("float32", "float16")}))
    request = ExportRequest(Source("timm:mobilenetv3_large_100", loaded), tmp_path / "out")
    exported = export(request, NoCache())
    rows = {row["stage"]: row for row in exported.bundle.ledger["stages"] if row["against"] == "reference"}
    assert exported.bundle.ledger["verdict"] == "pass"
    assert rows["tflite-float16"]["cosine"] >= 0.9999
