"""Weights are recovered on nets of a few layers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.build import build
from mobilekit.jobs.recover import train
from mobilekit.jobs.recover.job import recover
from mobilekit.jobs.recover.result import RecoverRequest, Training
from mobilekit.jobs.source import Source
from mobilekit.models.dfc import DenseFullyConnected
from mobilekit.models.names import LIVE
from mobilekit.recipes.load import load_recipe

SWAP = "{name: hard-sigmoid, max_drift: 1}"
TAPS = "{name: dfc-dense, options: {kernel_size: 3}, max_drift: 10}"


class Gated(nn.Module):
    """A convolution with a batch norm, perhaps a dense map, and a sigmoid gate."""

    def __init__(self, has_map: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.map: nn.Module = DenseFullyConnected(8, 8, "horizontal") if has_map else nn.Identity()
        self.gate, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, 4)."""
        x = torch.relu(self.norm(self.conv(x)))
        x = x * torch.sigmoid(2 * self.gate(self.map(x)))
        return self.head(x.mean((2, 3)))


def make(has_map: bool = False) -> nn.Module:
    torch.manual_seed(0)
    model = Gated(has_map)
    model.norm.running_mean = torch.linspace(-0.3, 0.3, 8)
    model.norm.running_var = torch.linspace(0.5, 2, 8)
    return model.eval()


def request(folder: Path, rewrites: str = SWAP, model: nn.Module | None = None, **changes: Any) -> RecoverRequest:
    """Return a request to recover the net on noise of 16 x 16."""
    (folder / "r.yaml").write_text(
        f"input: {{size: 16, crop: 1}}\nrewrites: [{rewrites}{', ' if rewrites else ''}{{name: fold-batch-norm}}]\n"
        "calibration: {count: 8}\n"
    )
    pictures = folder / "pictures.npz"
    if not pictures.exists():
        np.savez(pictures, input=np.random.default_rng(0).standard_normal((160, 3, 16, 16), np.float32))
    source = Source(f"{LIVE}Gated", load_recipe(str(folder / "r.yaml")), module=model or make())
    training = Training(60, 16, 1e-3)
    return replace(RecoverRequest(source, pictures, folder / "out.safetensors", training=training), **changes)


def test_a_swap_costs_less_with_the_weights_that_an_export_takes(tmp_path: Path) -> None:
    asked = request(tmp_path)
    found = recover(asked)
    [before], [after] = found.before, found.after
    assert found.rewrites == {"hard-sigmoid": 1}
    assert found.trained_on + found.kept_back == 160
    assert np.mean(found.losses[-10:]) < np.mean(found.losses[:10]) / 4
    assert after.relative_l2 < before.relative_l2 / 2
    assert found.is_nearer
    assert json.loads(asked.report.read_text()) == found.to_json()
    assert not asked.checkpoint.exists()
    # What an export makes of the file is what was measured: computed here without the engine.
    model = build(replace(asked.source, weights=asked.output)).reference.model
    assert {name: tensor.tolist() for name, tensor in model.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in load_file(asked.output).items()
    }
    with np.load(asked.pictures) as content:
        pictures = torch.from_numpy(content["input"])
    with torch.no_grad():
        x = torch.relu(model.norm(model.conv(pictures)))
        x = x * nn.functional.hardsigmoid(2 * model.gate(x))
        error = (model.head(x.mean((2, 3))) - make()(pictures)).norm() / make()(pictures).norm()
    assert float(error) == pytest.approx(after.relative_l2, rel=0.5)  # of all, and of those that were kept back


def test_a_run_that_was_interrupted_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 20)
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    expected = recover(request(tmp_path, output=whole))

    def interrupt(message: str) -> None:
        if message.startswith("training, step 47 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(request(tmp_path, output=cut), interrupt)
    assert not cut.exists()
    told: list[str] = []
    found = recover(request(tmp_path, output=cut), told.append)
    assert next(message for message in told if message.startswith("training")) == "training, step 41 of 60"
    assert cut.read_bytes() == whole.read_bytes()
    assert (found.losses, found.after) == (expected.losses, expected.after)


def test_a_run_of_other_code_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 20)

    def interrupt(message: str) -> None:
        if message.startswith("training, step 47 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(request(tmp_path), interrupt)
    changed = make()
    changed.forward = lambda x: 2 * type(changed).forward(changed, x)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="is of another run"):
        recover(request(tmp_path, model=changed))


def test_int8_is_trained_with_the_batch_norms_that_the_model_has(tmp_path: Path) -> None:
    """One channel's weights go to 30, so a step of the gates' values is coarse."""
    model = make()
    with torch.no_grad():
        model.gate.weight[:, 0] *= 30
    found = recover(request(tmp_path, "", model, int8=True))
    assert found.rewrites == {}
    assert found.after[0].relative_l2 < found.before[0].relative_l2


def test_a_dense_map_is_written_as_the_map_of_its_taps(tmp_path: Path) -> None:
    asked = request(tmp_path, TAPS, make(has_map=True))
    found = recover(asked)
    assert found.after[0].relative_l2 < found.before[0].relative_l2
    matrix = load_file(asked.output)["map.weight"]
    assert matrix.shape == (8, 8, 8)
    for offset in range(-7, 8):
        diagonal = matrix.diagonal(offset, 1, 2)
        assert bool((diagonal == diagonal[:, :1]).all())
        assert bool(diagonal.any()) is (abs(offset) <= 1)


def test_what_cannot_be_recovered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to recover"):
        recover(request(tmp_path, ""))
    with pytest.raises(UsageError, match="allow: true"):
        recover(request(tmp_path, "{name: pool-mode}", nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3)).eval()))
    few = tmp_path / "few.npz"
    np.savez(few, input=np.ones((12, 3, 16, 16), np.float32))
    with pytest.raises(
        UsageError, match=r"too few pictures: (12|0) to train on, and (12|0) that are kept back"
    ) as caught:
        recover(request(tmp_path, pictures=few))
    assert caught.value.hint.startswith("Give more pictures, which need no labels: 80 are enough.")
    with pytest.raises(GateError, match="loss of step"):
        recover(request(tmp_path, training=Training(20, 16, 1e30)))
    assert not list(tmp_path.glob("out.*"))


def test_a_checkpoint_of_another_run_and_files_that_exist_are_kept(tmp_path: Path) -> None:
    asked = request(tmp_path)
    torch.save({"run": "another"}, asked.checkpoint)
    with pytest.raises(UsageError, match="is of another run"):
        recover(asked)
    asked.checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match="no checkpoint that can be read"):
        recover(asked)
    asked.output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; it is kept"):
        recover(asked)
    recover(replace(asked, force=True, training=Training(2, 16)))
    assert load_file(asked.output).keys() == make().state_dict().keys()
