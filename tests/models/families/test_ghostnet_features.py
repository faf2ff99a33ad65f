"""GhostNet and GhostNetV2 as backbones: the same maps as timm's features_only, with the same weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mobilekit.models.analysis.macs import count_params
from mobilekit.models.families.ghostnet import GhostNet
from mobilekit.models.outputs import named_outputs
from mobilekit.models.registry import find_model
from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms, load_weights, packaged_weights
from mobilekit.rewrites.fx.graph import trace

STRIDES = (2, 4, 8, 16, 32)
CHANNELS = (16, 24, 40, 80, 160)
Twin = tuple[GhostNet, GhostNet, nn.Module]


def images(size: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(size))


@pytest.fixture(scope="module", params=[("ghostnetv2", "ghostnetv2_100"), ("ghostnet", "ghostnet_100")])
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """Our features-only model, our whole model, and timm's features-only model, with one checkpoint's weights."""
    name, official = request.param
    timm = import_timm()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        whole = timm.create_model(official).eval()
        calibrate_batch_norms(whole, [{"input": torch.randn(4, 3, 96, 96)}])
    path = tmp_path_factory.mktemp("features") / "weights.safetensors"
    state = whole.state_dict()
    save_file(state, path)
    other = timm.create_model(official, features_only=True).eval()
    other.load_state_dict({key: state[key.replace("blocks_", "blocks.")] for key in other.state_dict()})
    ours = [find_model(name).create(features_only=features_only) for features_only in (True, False)]
    for model in ours:
        load_weights(model, path)
    return ours[0], ours[1], other


@pytest.mark.parametrize("size", [224, 193, 96])
def test_maps_equal_timms(twin: Twin, size: int) -> None:
    backbone, whole, other = twin
    x = images(size)
    with torch.no_grad():
        ours, of_whole, theirs = backbone(x), whole.features(x), other(x)
    for mine, also_mine, their, stride, channels in zip(ours, of_whole, theirs, STRIDES, CHANNELS, strict=True):
        side = -(-size // stride)
        assert mine.shape == their.shape == (2, channels, side, side)
        assert their.std() > 0.05  # the maps carry something to compare
        assert (mine - their).abs().max() <= 1e-5 * their.abs().max()
        assert torch.equal(mine, also_mine)


def test_nothing_behind_the_last_map_is_in_the_module(twin: Twin) -> None:
    backbone, whole, other = twin
    assert count_params(backbone) == count_params(other) < count_params(whole)
    assert not {"conv_head", "act2", "classifier"} & {name for name, _ in backbone.named_children()}
    assert set(backbone.state_dict()) < set(whole.state_dict())
    backbone.zero_grad()
    sum(feature.sum() for feature in backbone(images(64))).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())  # none is left without use


def test_the_graph_gives_the_same_maps(twin: Twin) -> None:
    backbone = twin[0]
    x = images(65)
    graph = trace(backbone, {"input": x})
    with torch.no_grad():
        expected, traced = backbone(x), graph(x)
    assert isinstance(traced, tuple)
    assert list(named_outputs(traced)) == [f"output_{index}" for index in range(5)]
    assert all(torch.equal(one, other) for one, other in zip(expected, traced, strict=True))


def test_other_stem_strides_widths_and_dense_maps_have_features_too() -> None:
    digits = find_model("ghostnetv2_digits").create(features_only=True)
    load_weights(digits, packaged_weights("ghostnetv2_digits.safetensors"))
    dense = find_model("ghostnetv2_130").create(features_only=True, weights="dense", input_size=96)
    with torch.no_grad():
        assert [feature.shape[-1] for feature in digits(images(32, 1))] == [32, 16, 8, 4, 2]
        assert [tuple(feature.shape[1:3]) for feature in dense(images(96))] == [
            (20, 48),
            (32, 24),
            (52, 12),
            (104, 6),
            (208, 3),
        ]
