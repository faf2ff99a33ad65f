"""Rewritten models can be trained, and exported afterwards."""

from __future__ import annotations

import copy
import doctest
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

import mobilekit
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.load import LoadedRecipe, parse_recipe, recipe_for
from mobilekit.rewrites.fx.graph import path_of
from tests.conftest import ROOT

GATES = ROOT / "docs" / "examples" / "hard_gates.yaml"


class Net(nn.Module):
    """Convolution, batch norm, SiLU, dropout and a classifier: (N, 3, H, W) to (N, 4)."""

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it; with a size, for images of this size alone."""
        if self.size is not None and x.shape != (1, 3, self.size, self.size):
            raise ValueError(f"{tuple(x.shape)} is not one image of {self.size}")
        features = self.stem(x).mean((2, 3))
        return self.head(self.dropout(features if self.size is None else features.reshape(1, 8)))


RECIPE = parse_recipe("input: {size: 8}\nrewrites: [{name: hard-swish, max_drift: 1}]", "t", "t.yaml")
IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_rewritten_model_trains() -> None:
    torch.manual_seed(0)
    original = Net().eval()
    original.stem[0].weight.requires_grad_(False)
    before = weights_digest(original)
    model = mobilekit.rewrite(original, RECIPE, IMAGES)
    assert isinstance(model, GraphModule)
    [act] = [node for node in model.graph.nodes if node.target is torch.ops.aten.hardswish.default]
    assert path_of(act) == "stem.2"
    assert not model.training
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in original.named_parameters()}
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())

    labels = torch.arange(16) % 4
    statistics = model.get_buffer("stem.1.running_mean").clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    model.train()
    assert not torch.equal(model(IMAGES), model(IMAGES))  # dropout is at work
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(model(IMAGES), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert not torch.equal(model.get_buffer("stem.1.running_mean"), statistics)
    assert weights_digest(original) == before

    again = mobilekit.rewrite(original, RECIPE, prove=False)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(IMAGES), model.eval()(IMAGES))


@pytest.fixture(scope="module")
def trained_digits() -> tuple[nn.Module, nn.Module]:
    """GhostNetV2 on digits with its batch norms, rewritten, before and after two steps with a batch of 8."""
    original = mobilekit.load_model("ghostnetv2_digits")
    model = mobilekit.rewrite(original, without_folding("ghostnetv2_digits"), prove=False)
    start = copy.deepcopy(model)
    images = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(images), torch.arange(8)).backward()
        optimizer.step()
    return start, model


def without_folding(name: str) -> LoadedRecipe:
    loaded = recipe_for(name)
    kept = tuple(step for step in loaded.recipe.rewrites if step.name != "fold-batch-norm")
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": kept}))


def test_every_parameter_has_a_gradient_and_statistics_move(
    trained_digits: tuple[nn.Module, nn.Module],
) -> None:
    start, model = trained_digits
    before = start.state_dict()
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name
    for name in norms:
        assert not torch.equal(model.get_buffer(f"{name}.running_mean"), before[f"{name}.running_mean"])
        assert not torch.equal(model.get_buffer(f"{name}.running_var"), before[f"{name}.running_var"])
        assert int(model.get_buffer(f"{name}.num_batches_tracked")) == 2 + int(before[f"{name}.num_batches_tracked"])


def test_a_rewritten_model_copies_and_pickles(trained_digits: tuple[nn.Module, nn.Module]) -> None:
    model = trained_digits[1].eval()
    x = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301  (made here)
            assert torch.equal(other(x), model(x))
            assert other.state_dict().keys() == model.state_dict().keys()
            other.train()
            assert not torch.equal(other(x), model(x))


def test_an_unrewritten_graph_trains_and_its_state_is_the_originals() -> None:
    """Without rewrites the module is the model: gradients, statistics and outputs are the same, step by step."""
    loaded = recipe_for("ghostnetv2_digits")
    nothing = replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": ()}))
    original = mobilekit.load_model("ghostnetv2_digits")
    model = mobilekit.rewrite(original, nothing, prove=False)
    assert list(model.state_dict()) == list(original.state_dict())
    images = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for net in (model, original):
        torch.manual_seed(0)
        net.train()
        F.cross_entropy(net(images), torch.arange(8)).backward()
    gradients = dict(original.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-6), name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * parameter.grad
    fresh = mobilekit.load_model("ghostnetv2_digits")
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(images), model.eval()(images))


class Odd(nn.Module):
    """A net with a kernel of its own, a head for training alone, and a table that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.norm, self.head, self.second = nn.BatchNorm2d(4), nn.Linear(4, 2), nn.Linear(4, 3)
        self.register_buffer("table", torch.arange(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it without the second head."""
        return self.head(self.norm(F.conv2d(x, self.kernel)).relu().mean((2, 3)))


def test_what_a_state_lost_is_listed_with_what_came_of_it() -> None:
    original = Odd().eval()
    kept = parse_recipe("input: {size: 8}\nrewrites: []", "t", "t")
    model = mobilekit.rewrite(original, kept, IMAGES)
    [change] = model.meta["state_changes"]  # type: ignore[index,union-attr]
    assert (change.step, change.gone, change.new) == ("graph", ("kernel",), ("conv2d.weight",))
    assert set(model.state_dict()) == set(original.state_dict()) - {"kernel"} | {"conv2d.weight"}
    assert torch.equal(model.state_dict()["conv2d.weight"], original.kernel)
    assert torch.equal(model.state_dict()["second.weight"], original.second.weight)

    folded = mobilekit.rewrite(
        original, parse_recipe("input: {size: 8}\nrewrites: [{name: fold-batch-norm}]", "t", "t")
    )
    [_graph, fold] = folded.meta["state_changes"]  # type: ignore[index,union-attr]
    assert fold.step == "fold-batch-norm"
    assert fold.new == ("conv2d.bias",)
    assert set(fold.gone) == {key for key in original.state_dict() if key.startswith("norm.")}


def test_a_state_loads_into_the_original_class_where_nothing_was_rewritten() -> None:
    class Head(Odd):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(x.repeat(1, 2, 1, 1)[:, :4]).mean((2, 3)))

    original, fresh = Head().eval(), Head().eval()
    model = mobilekit.rewrite(original, parse_recipe("input: {size: 8}\nrewrites: []", "t", "t"), IMAGES)
    assert model.meta["state_changes"] == ()  # type: ignore[index]
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(IMAGES), original(IMAGES))


def test_a_model_for_one_size_can_be_rewritten_twice() -> None:
    """Such a model takes one image at a time in proofs and exports; so does what it was rewritten to."""
    first = mobilekit.rewrite(Net(8), RECIPE, IMAGES)
    second = mobilekit.rewrite(first, parse_recipe("input: {size: 8}\nrewrites: [{name: fold-batch-norm}]", "t", "t"))
    assert first.meta["one_size"] is True  # type: ignore[index]
    assert second.meta["one_size"] is True  # type: ignore[index]
    assert torch.allclose(first(IMAGES[:1]), second(IMAGES[:1]), atol=1e-6)


POOLED = """
import torch
from torch import nn
from torch.nn import functional as F


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(F.avg_pool2d(self.mix(self.stem(x).relu()), 2).mean((2, 3)))
"""


@pytest.mark.slow
def test_what_needs_retraining_is_held_to_the_stage_before_it(tmp_path: Path) -> None:
    (tmp_path / "pooled.py").write_text(POOLED)
    (tmp_path / "max.yaml").write_text(
        "input: {size: 24}\ncalibration: {count: 8}\n"
        "rewrites: [{name: pool-mode, allow: true, options: {to: max}}, {name: fold-batch-norm}]"
    )
    spec = f"{tmp_path / 'pooled.py'}:Pooled"
    bundle = mobilekit.export(spec, recipe=tmp_path / "max.yaml", precision=["float32"], output=tmp_path / "out")
    for ledger in (bundle.ledger, mobilekit.diff(bundle, reference=spec).to_json()):
        assert ledger["verdict"] == "pass"
        for row in ledger["stages"]:
            if row["against"] == "reference":
                assert row["relative_l2"] > 0.1
                assert row["limits"] == []
            else:
                assert row["relative_l2"] < 1e-5
                assert row["limits"][0]["metric"] == "max_abs"
    [pools, _] = bundle.ledger["rewrites"]
    assert (pools["max_drift"], pools["drift"] > 0.1) == (None, True)


@pytest.mark.slow
def test_the_document_runs_and_the_artifact_is_the_tuned_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    result = doctest.testfile(str(ROOT / "docs" / "rewrites.md"), module_relative=False)
    assert (result.failed, result.attempted > 14) == (0, True)

    from mobilekit.artifacts.open import open_artifact
    from mobilekit.recipes.inputs.builtin import evaluation_inputs

    images = evaluation_inputs(mobilekit.load_recipe(GATES).recipe)
    tuned = mobilekit.rewrite(mobilekit.load_model("ghostnetv2_digits"), GATES, prove=False)
    tuned.load_state_dict(load_file("tuned.safetensors"))
    with torch.no_grad():
        logits = tuned(torch.from_numpy(images.inputs["input"])).numpy()
    artifact = open_artifact(tmp_path / "artifacts" / "tuned_digits_make_tuned" / "model.onnx")
    [exported] = artifact.run(images.inputs).values()
    assert np.abs(exported - logits).max() <= 1e-4 * np.abs(logits).max()
    assert (logits.argmax(1) == images.labels).mean() > 0.95
