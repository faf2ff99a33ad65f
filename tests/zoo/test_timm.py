"""The whole way with somebody else's weights and somebody else's network, and the rewrites of both."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilekit.jobs.export import export
from mobilekit.jobs.graph_cost import cost_of
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import note_shapes
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.report import EXACT_RELATIVE_ERROR
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


@pytest.mark.parametrize("model", [model for model in MODELS if model == "ghostnetv2"])
def test_timms_model_has_the_sites_of_the_reference(model: str, cli: Cli) -> None:
    """Names differ, and timm's DFC is written as convolutions; all else matches one to one."""
    words = [(model,), ("timm:ghostnetv2_100", "--recipe", model)]
    ours, theirs = (json.loads(cli("rewrites", "explain", *each, "--json").stdout) for each in words)

    def renamed(path: str) -> str:
        stages = {"project_bn": "1", "horizontal_bn": "3", "vertical_bn": "5"}
        for own, number in stages.items():
            path = path.replace(f"attention.{own}", f"short_conv.{number}")
        path = path.replace("attention.sigmoid", "gate_fn").replace("attention.interpolate", "interpolate")
        path = path.replace("attention.avg_pool2d", "avg_pool2d")
        return path.replace("blocks.9.0.bn1", "blocks.9.0.bn1.norm")

    steps = {step["name"]: step for step in theirs["steps"]}
    assert steps["dfc-shared"]["notes"] == ["it matches nothing in this model"]
    for step in ours["steps"]:
        if step["name"] == "dfc-shared":
            continue
        other = steps[step["name"]]
        expected = Counter((renamed(site["path"]), site["applied"], site["reason"]) for site in step["sites"])
        found = Counter((site["path"], site["applied"], site["reason"]) for site in other["sites"])
        if step["name"] == "noop-slice":  # a slice has no name of its own
            assert sum(found.values()) == sum(expected.values()) == 32
            continue
        assert found == expected
        assert (other["proof_error"] or 0.0) <= 1e-9
    assert theirs["after"]["macs"] == ours["after"]["macs"]


@pytest.mark.parametrize("model", [model for model in MODELS if model == "ghostnet"])
@pytest.mark.parametrize("name", ["mobileone_s0", "repvgg_a0", "repvit_m0_9", "fastvit_t8", "repghostnet_050"])
def test_training_forms_become_timms_own_inference_forms(model: str, name: str) -> None:
    """In float64 outputs are those of timm's `reparameterize_model`, and there are about as many steps."""
    timm = import_timm()
    net = timm.create_model(name).eval()
    size = net.default_cfg["input_size"][-1]
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    calibrate_batch_norms(net, [{"input": images}])
    for path, parameter in net.named_parameters():
        if path.endswith("gamma"):  # timm starts with 1e-5, at which a wrong branch is not seen
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    recipe = recipe_of_model(f"timm:{name}")
    done = rewrite(net, recipe, {"input": images}, keep_exact=True)
    merging = next(step for step in done.steps if step.name == "merge-branches")
    assert len(merging.applied) >= 20
    assert merging.refused == ()
    torch.set_default_dtype(torch.float64)  # for what timm makes anew, as a kernel of ones
    try:
        theirs = timm.utils.reparameterize_model(net.double())
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        assert done.exact is not None
        assert relative_error(theirs(images.double()), done.exact(images.double())) <= EXACT_RELATIVE_ERROR
    plain = rewrite(theirs.float(), recipe, {"input": images}, prove=False)
    for graph in (done.graph, plain.graph):
        note_shapes(graph, {"input": images})
    ours, timms = (cost_of(graph, recipe.recipe.shapes) for graph in (done.graph, plain.graph))
    assert ours.ops <= 1.1 * timms.ops
    assert ours.macs <= 1.001 * timms.macs  # repvit's two classifiers are not convolutions, and stay two
    assert ours.kinds["Conv2d"] == timms.kinds["Conv2d"]
