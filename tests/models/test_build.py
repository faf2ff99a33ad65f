"""The reference is built as an export needs it: inputs that fit, seeded weights, evaluation mode."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.build import build_reference, effective_options, load_state, probe_model, save_state
from mobilekit.models.registry import ModelEntry, find_model
from mobilekit.models.weights import weights_digest


def test_an_input_that_is_too_small_is_refused_with_the_next_size() -> None:
    """At 32 pixels, DFC's last maps are 1x1 and cannot be halved; at 33 they are 2x2."""
    entry = find_model("ghostnetv2")
    with pytest.raises(UsageError, match=r"input of 3x32x32(.|\n)*next larger size that it takes is 33\."):
        probe_model(entry, {}, {"input": (1, 3, 32, 32)})
    probe_model(entry, {}, {"input": (1, 3, 33, 33)})
    probe_model(find_model("ghostnet"), {}, {"input": (1, 3, 32, 32)})


def test_an_input_with_other_channels_is_refused_with_both_counts() -> None:
    with pytest.raises(UsageError) as caught:
        probe_model(find_model("ghostnetv2_digits"), {}, {"input": (1, 3, 32, 32)})
    for words in ("ghostnetv2_digits takes 1", "3", "color"):
        assert words in str(caught.value)
    probe_model(find_model("ghostnetv2_digits"), {"in_channels": 3}, {"input": (1, 3, 32, 32)})


def test_references_are_seeded_and_in_evaluation_mode(tmp_path: Path) -> None:
    entry = find_model("ghostnetv2_digits")
    options = effective_options(entry, {"weights": "dense"}, 48)
    assert options == {"weights": "dense", "input_size": 48}
    untrained = ModelEntry(
        name="test", build=entry.build, paper="", input_size=48, in_channels=1, num_classes=10, defaults=entry.defaults
    )
    images = torch.randn(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    first = build_reference(untrained, options, None, {"input": images})
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        second = build_reference(untrained, options, None, {"input": images})
    assert weights_digest(first.model) == weights_digest(second.model)
    assert not any(module.training for module in first.model.modules())
    assert "accuracy means nothing" in first.weights_source
    assert "trained" in build_reference(entry, {}, None, {"input": images}).weights_source
    save_state(first.model, tmp_path / "state.safetensors")
    other = entry.create(**options)
    assert weights_digest(other) != weights_digest(first.model)
    load_state(other, tmp_path / "state.safetensors")
    assert weights_digest(other) == weights_digest(first.model)


@pytest.mark.parametrize("count", [2, 5, 9])
def test_seeded_weights_are_made_at_the_smallest_size_too(count: int) -> None:
    """DFC's last maps are 1x1 at 33 pixels: a batch norm needs more than one image there."""
    entry = find_model("ghostnetv2")
    model = build_reference(entry, {"width": 0.25}, None, {"input": torch.rand(count, 3, 33, 33)}).model
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    with pytest.raises(UsageError, match="Give more calibration inputs"):
        build_reference(entry, {"width": 0.25}, None, {"input": torch.rand(1, 3, 33, 33)})


class Keeps(nn.Module):
    """Looks up its biases at the first run, and keeps them, as LeViT does in evaluation mode."""

    def __init__(self, *, has_lock: bool = False) -> None:
        super().__init__()
        self.biases = nn.Parameter(torch.randn(2))
        self.register_buffer("places", torch.tensor([1, 0, 1]))
        self.kept: list[torch.Tensor] = []
        self.lock = threading.Lock() if has_lock else None  # cannot be copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = self.kept or [self.biases[self.places]]
        return x.mean((2, 3)) + self.kept[0]


@pytest.mark.parametrize("has_lock", [False, True])
def test_what_a_model_keeps_of_a_trial_is_not_kept_with_its_weights(has_lock: bool, tmp_path: Path) -> None:
    entry = ModelEntry(name="test", build=lambda: Keeps(has_lock=has_lock), paper="", in_channels=3, num_classes=3)
    trained = {"biases": torch.tensor([5.0, 7.0]), "places": torch.tensor([1, 0, 1])}
    torch.save(trained, tmp_path / "trained.pth")
    probed = probe_model(entry, {}, {"input": (1, 3, 8, 8)})
    made = build_reference(entry, {}, tmp_path / "trained.pth", {"input": torch.zeros(1, 3, 8, 8)}, probed)
    assert made.model(torch.zeros(1, 3, 8, 8)).tolist() == [[7.0, 5.0, 7.0]]
