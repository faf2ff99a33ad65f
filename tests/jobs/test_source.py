"""One way to a model: every command and the Python API build and rewrite the same one, on the user's own data too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mobilekit
from mobilekit.cli import app
from mobilekit.errors import UsageError
from mobilekit.jobs import export as exporter
from mobilekit.jobs.build import build, open_source
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.request import ExportRequest, request_digest
from mobilekit.jobs.source import Source, choose_recipe, recipe_of_model
from mobilekit.models.build import Reference, save_state
from mobilekit.models.names import NO_WEIGHTS
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.picture import Input
from mobilekit.rewrites import engine
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import NoCache
from mobilekit.store.stages import Stage

MODEL = "ghostnet"
"""One without trained weights: its batch norms are set on the calibration inputs."""
RECIPE = """
model_options: {width: 0.25, num_classes: 4}
input: {size: 32}
rewrites: [{name: fold-batch-norm}]
precision: [float32]
calibration: {count: 4}
"""


class Rewritten(Exception):  # noqa: N818
    """The rewritten model, thrown as soon as it is made: nothing is converted or measured."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Path]:
    """A recipe's file and calibration inputs of the user's own."""
    recipe, calibration = tmp_path / "mine.yaml", tmp_path / "mine.npz"
    recipe.write_text(RECIPE)
    images = np.random.default_rng(7).uniform(-2, 5, (4, 3, 32, 32)).astype(np.float32)
    np.savez(calibration, input=images)
    return {"recipe": recipe, "calibration": calibration, "folder": tmp_path}


@pytest.fixture
def thrown(monkeypatch: pytest.MonkeyPatch) -> None:
    def throw(graph: nn.Module, *_others: Any) -> None:
        raise Rewritten(weights_digest(graph))

    monkeypatch.setattr(engine, "Rewritten", throw)


def source_of(given: dict[str, Path]) -> Source:
    return Source(MODEL, load_recipe(str(given["recipe"])), calibration=given["calibration"])


def of_command(*words: str) -> Callable[[dict[str, Path]], None]:
    def run(given: dict[str, Path]) -> None:
        options = ["--recipe", str(given["recipe"]), "--calibration", str(given["calibration"])]
        place = ["-o", str(given["folder"] / "out")] if words[0] == "export" else []
        app.application(words[:1])([*words, *options, *place], standalone_mode=False)

    return run


def of_tune(given: dict[str, Path]) -> None:
    from mobilekit.jobs.tune.lab import Lab

    meter: Any = None
    Lab(source_of(given), "float32", meter, given["folder"], NoCache()).candidates([])


def of_api_export(given: dict[str, Path]) -> None:
    mobilekit.export(
        MODEL, recipe=given["recipe"], calibration=given["calibration"], output=given["folder"] / "out", cache=False
    )


def of_api_rewrite(given: dict[str, Path]) -> None:
    model = mobilekit.load_model(MODEL, recipe=given["recipe"], calibration=given["calibration"])
    mobilekit.rewrite(model, given["recipe"], given["calibration"])


WAYS = {
    "export": of_command("export", MODEL),
    "ranges": of_command("ranges", MODEL),
    "rewrites explain": of_command("rewrites", "explain", MODEL),
    "rewrites rank": of_command("rewrites", "rank", MODEL, "--rewrite", "hard-sigmoid"),
    "quantize-search": of_command("quantize-search", MODEL),
    "tune": of_tune,
    "api.export": of_api_export,
    "api.rewrite": of_api_rewrite,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.usefixtures("thrown")
def test_every_way_rewrites_the_same_model(way: Callable[[dict[str, Path]], None], given: dict[str, Path]) -> None:
    with pytest.raises(Rewritten) as expected:
        build(source_of(given)).rewritten()
    with pytest.raises(Rewritten) as found:
        way(given)
    if way is WAYS["rewrites rank"]:  # which applies the steps before the one that is ranked, and there is none
        no_steps = source_of(given)
        recipe = replace(no_steps.recipe, recipe=no_steps.recipe.recipe.model_copy(update={"rewrites": ()}))
        with pytest.raises(Rewritten) as expected:
            build(replace(no_steps, recipe=recipe)).rewritten()
    assert found.value.digest == expected.value.digest


@pytest.mark.usefixtures("thrown")
def test_the_users_own_calibration_makes_another_model(given: dict[str, Path]) -> None:
    digests = []
    for source in (source_of(given), replace(source_of(given), calibration=None)):
        with pytest.raises(Rewritten) as found:
            build(source).rewritten()
        digests.append(found.value.digest)
    assert digests[0] != digests[1]


def test_a_bundle_has_the_model_that_was_exported(given: dict[str, Path], tmp_path: Path) -> None:
    """`diff`, `diff --layers`, `verify` and `ranges` of a bundle: from its weights, without its calibration inputs."""
    built = build(source_of(given))
    rewritten = built.rewritten()
    (tmp_path / "stages").mkdir()
    save_state(built.reference.model, tmp_path / Stage.REFERENCE.file)
    save_state(rewritten.graph, tmp_path / Stage.REWRITTEN.file)
    loaded = built.source.recipe
    manifest = {
        "model": {"name": MODEL, "options": built.options},
        "recipe": {"name": loaded.name, "content": loaded.recipe.model_dump(mode="json")},
    }
    bundle = Bundle(tmp_path, manifest)
    model, again = models_of_bundle(bundle, recipe_of_bundle(bundle))
    assert weights_digest(model) == weights_digest(built.reference.model)
    assert weights_digest(again.graph) == weights_digest(rewritten.graph)


def test_a_candidate_is_compared_with_that_model(given: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from mobilekit.cli.candidates import open_candidate
    from mobilekit.cli.diff_request import DiffRequest
    from mobilekit.jobs import compare

    found = []
    monkeypatch.setattr(compare, "open_artifact", lambda _path: None)
    monkeypatch.setattr(compare, "pair_inputs", lambda _runtime, _shapes: None)
    monkeypatch.setattr(compare, "_torch_pair", lambda *parts: found.append(parts[4]))
    candidate = given["folder"] / "their.onnx"
    candidate.touch()
    request = DiffRequest(
        candidate=candidate, reference=MODEL, recipe=str(given["recipe"]), calibration=given["calibration"]
    )
    request.check()
    open_candidate(request)
    assert weights_digest(found[0]) == weights_digest(build(source_of(given)).reference.model)


def test_the_python_api_gives_that_model_and_checks_its_inputs(given: dict[str, Path]) -> None:
    model = mobilekit.load_model(MODEL, recipe=given["recipe"], calibration=given["calibration"])
    assert weights_digest(model) == weights_digest(build(source_of(given)).reference.model)
    with pytest.raises(UsageError, match="takes 3-channel pictures"):
        wrong = given["folder"] / "gray.yaml"
        wrong.write_text("input: {size: 32, color: gray, mean: [0.5], std: [0.5]}")
        mobilekit.load_model(MODEL, recipe=wrong)


def test_a_model_is_built_once(given: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(given)
    made: list[nn.Module] = []
    opened = open_source(source)
    create = opened.entry.build

    def counting(**options: Any) -> nn.Module:
        made.append(create(**options))
        return made[-1]

    entry = replace(opened.entry, build=counting)
    monkeypatch.setattr("mobilekit.models.user.resolve", lambda *_arguments: entry)
    monkeypatch.setattr("mobilekit.jobs.fill_bundle.fill_bundle", lambda _folder, opened, *_others: opened.fill())
    monkeypatch.setattr(exporter, "_unchanged", lambda *_arguments: None)
    monkeypatch.setattr(exporter, "open_bundle", lambda path: path)
    exporter.export(ExportRequest(source, given["folder"] / "out"), NoCache())
    assert len(made) == 1


OWN = """
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.gamma = net, nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.gamma * self.net(x)

def fresh():
    return Scaled(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 2)))

def trained():
    torch.manual_seed(3)
    model = fresh()
    model.net[1].running_mean += 3
    return model

def without():
    return nn.Conv2d(3, 2, 3)
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Reference]:
    """Build a reference of one of these factories, with or without weights."""
    (tmp_path / "net.py").write_text(OWN)
    (tmp_path / "r.yaml").write_text("input: {size: 8}\ncalibration: {count: 4}")

    def make(factory: str, weights: Path | None = None) -> Reference:
        source = Source(f"{tmp_path / 'net.py'}:{factory}", choose_recipe("", tmp_path / "r.yaml"), weights)
        return build(source).reference

    return make


def test_what_a_factory_of_the_users_returns_is_kept(own: Callable[..., Reference]) -> None:
    kept = own("trained")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        weight = nn.Conv2d(3, 2, 3).weight
    assert torch.equal(kept.model.get_parameter("net.0.weight"), weight)
    assert kept.model.get_buffer("net.1.running_mean").tolist() == [3, 3]
    assert kept.model.get_buffer("net.1.running_var").tolist() == [1, 1]
    assert kept.is_trained
    assert kept.weights_source.endswith("net.py:trained gives it")
    assert own("without").is_trained


def test_batch_norms_that_were_never_trained_are_kept_and_told(own: Callable[..., Reference]) -> None:
    fresh = own("fresh")
    assert fresh.model.get_buffer("net.1.running_mean").tolist() == [0, 0]
    assert not fresh.is_trained
    assert "never trained (mean 0, variance 1), and accuracy means nothing" in fresh.weights_source


def test_no_weights_are_drawn_and_calibrated(own: Callable[..., Reference]) -> None:
    drawn, given = own("trained", NO_WEIGHTS), own("trained")
    assert not torch.equal(drawn.model.get_parameter("net.0.weight"), given.model.get_parameter("net.0.weight"))
    assert weights_digest(drawn.model) == weights_digest(own("trained", NO_WEIGHTS).model)
    assert drawn.model.get_parameter("gamma").item() == 0.5
    assert drawn.weights_source.startswith("seeded random weights (seed 0) (but for gamma), batch norms calibrated")
    seen: list[torch.Tensor] = []
    drawn.model.get_submodule("net.1").register_forward_hook(lambda _norm, _taken, made: seen.append(made))
    images = read_calibration(load_recipe("default").recipe.model_copy(update={"input": Input(size=8)}), None).arrays
    drawn.model(torch.from_numpy(images["input"][:4]))
    assert seen[0].mean((0, 2, 3)).abs().max() < 1e-5  # as on what they were calibrated on
    assert not drawn.is_trained


def test_no_weights_of_a_model_that_comes_with_some_are_drawn_too() -> None:
    source = Source("ghostnetv2_digits", load_recipe("ghostnetv2_digits"))
    drawn = build(replace(source, weights=NO_WEIGHTS)).reference
    assert "accuracy means nothing" in drawn.weights_source and not drawn.is_trained
    assert build(source).reference.is_trained


def test_a_recipe_is_the_one_given_or_the_models_own(given: dict[str, Path]) -> None:
    loaded = load_recipe("ghostnetv2_digits")
    assert choose_recipe("ghostnetv2", loaded) is loaded
    assert choose_recipe("ghostnetv2", "ghostnetv2_digits").recipe == loaded.recipe
    assert choose_recipe("ghostnetv2", given["recipe"]).name == "mine"
    assert (
        choose_recipe("ghostnetv2_digits", None).recipe == recipe_of_model("ghostnetv2_digits").recipe == loaded.recipe
    )


def test_what_a_factory_loads_makes_another_export(tmp_path: Path) -> None:
    """Its code stays the same, and the file that it reads does not."""
    (tmp_path / "net.py").write_text(
        "from pathlib import Path\nimport torch\nfrom torch import nn\n"
        "def make():\n"
        "    net = nn.Conv2d(3, 2, 3)\n"
        "    net.load_state_dict(torch.load(Path(__file__).with_name('net.pth')))\n"
        "    return net\n"
    )
    (tmp_path / "r.yaml").write_text("input: {size: 8}")
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        torch.save(nn.Conv2d(3, 2, 3).state_dict(), tmp_path / "net.pth")
        source = Source(f"{tmp_path / 'net.py'}:make", choose_recipe("", tmp_path / "r.yaml"))
        request = ExportRequest(source, tmp_path / "out")
        digests.append(request_digest(request, open_source(source)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_a_softmax_goes_behind_logits_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nimport torch\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, act):\n        super().__init__()\n        self.act = act\n"
        "    def forward(self, x):\n        x = x.mean((2, 3))\n"
        "        return getattr(torch, self.act)(x, 1) if self.act else x\n"
        f"def ends():\n    return Net({kind!r})\n"
        "def logits():\n    return Net('')\n"
    )
    recipe = tmp_path / "scores.yaml"
    recipe.write_text("input: {size: 32}\noutput: {activation: softmax}\ncalibration: {count: 2}\n")
    source = Source(f"{tmp_path / 'net.py'}:logits", load_recipe(str(recipe)))
    given = build(source).reference.model(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(given["probabilities"], torch.full((1, 3), 1 / 3))
    with pytest.raises(UsageError, match=f"output logits is that of a {kind} already"):
        build(replace(source, model=f"{tmp_path / 'net.py'}:ends"))
