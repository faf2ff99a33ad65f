"""GhostNet and GhostNetV2: size and cost as published, and the same function as timm's with the same weights."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mobilekit.errors import UsageError
from mobilekit.models.analysis.macs import count_macs, count_params
from mobilekit.models.dfc import FullyConnected
from mobilekit.models.layers import SqueezeExcite, ceil_to, make_divisible
from mobilekit.models.registry import find_model
from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms, load_weights, packaged_weights

PARAMS = {
    "ghostnet_050": 2_587_292,
    "ghostnet": 5_182_508,
    "ghostnet_130": 7_358_820,
    "ghostnetv2": 6_156_908,
    "ghostnetv2_130": 8_960_404,
    "ghostnetv2_160": 12_392_698,
}


# One unit of the last digit that the papers print. 42M and 7.3M have two digits: 42.3M and 7.36M are 0.8 % away from
# them, and yet agree with what was printed.
LAST_DIGIT = {"macs": 1_000_000, "params": 100_000}


IMAGE = (1, 3, 224, 224)


@cache
def macs_of(name: str, **options: Any) -> int:
    return count_macs(on_meta(name, **options), IMAGE)


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return find_model(name).create(**options)


@pytest.mark.parametrize("name", PARAMS)
def test_parameters_are_those_of_the_official_code(name: str) -> None:
    assert count_params(on_meta(name)) == PARAMS[name]


@pytest.mark.parametrize("name", PARAMS)
def test_published_figures_are_met(name: str) -> None:
    published = find_model(name).published
    assert published.macs is not None
    figures = [("macs", published.macs, macs_of(name))]
    if published.params is not None:
        figures.append(("params", published.params, PARAMS[name]))
    for kind, printed, measured in figures:
        assert abs(measured - printed) <= max(0.005 * printed, LAST_DIGIT[kind]), (kind, printed, measured)


@pytest.mark.parametrize(("name", "official"), [("ghostnet", "ghostnet_100"), ("ghostnetv2", "ghostnetv2_100")])
def test_macs_equal_a_plain_count_of_the_official_convolutions(name: str, official: str) -> None:
    with torch.device("meta"):
        other = import_timm().create_model(official).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        other(torch.empty(IMAGE, device="meta"))
    assert macs_of(name) == counter.get_total_flops() // 2


def test_dfc_counts_the_taps_of_the_band_not_the_zeros_beside_it() -> None:
    """At 224, DFC's maps with 5 taps are 3.4M of 167M; as full matrices they would be 10.1M."""
    shared, dense = macs_of("ghostnetv2"), macs_of("ghostnetv2", weights="dense")
    one_tap = macs_of("ghostnetv2", kernel_size=1)
    band = (shared - one_tap) * 5 // 4
    assert band == pytest.approx(3.35e6, rel=0.005)
    assert dense - shared + band == pytest.approx(10.1e6, rel=0.005)
    # Pooled sizes of the paper's architecture, from its third block on, and the channels that the maps have.
    sizes = [28, 28, 14, 14] + [7] * 6 + [3] * 4
    channels = [72, 72, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960, 960, 960]
    assert band == sum(2 * 5 * c * size * size for c, size in zip(channels, sizes, strict=True))


@pytest.fixture(scope="module", params=[("ghostnetv2", "ghostnetv2_100"), ("ghostnet", "ghostnet_100")])
def twin(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    """A model's name, and timm's with seeded weights and batch norms that give sane activations."""
    name, official = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other: nn.Module = import_timm().create_model(official).eval()
        calibrate_batch_norms(other, [{"input": torch.randn(4, 3, 96, 96)}])
    return name, other


@pytest.mark.parametrize(
    "form", ["plain", "state_dict", "state_dict_ema", "module", "safetensors", "safetensors-module"]
)
def test_outputs_equal_timm_with_the_same_weights(twin: tuple[str, nn.Module], form: str, tmp_path: Path) -> None:
    name, other = twin
    state: dict[str, Any] = other.state_dict()
    if "module" in form:
        state = {f"module.{key}": tensor for key, tensor in state.items()}
    if form.startswith("safetensors"):
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    else:
        path = tmp_path / "weights.pth"
        torch.save({form: state, "epoch": 3} if form.startswith("state_dict") else state, path)
    model = find_model(name).create()
    load_weights(model, path)
    for size in (224, 225, 193) if form == "plain" else (65,):
        x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            ours, theirs = model(x), other(x)
        assert theirs.std() > 0.05  # the outputs carry something to compare
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    with torch.no_grad():
        ours, theirs = model.double()(x.double()), copy.deepcopy(other).double()(x.double())
    assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def digits_output(**options: Any) -> torch.Tensor:
    """Output of the small trained model with other options and the same weights."""
    entry = find_model("ghostnetv2_digits")
    model = entry.create(**options)
    load_weights(model, packaged_weights("ghostnetv2_digits.safetensors"))
    x = torch.randn(2, 1, 36, 36, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        out: torch.Tensor = model(x)
    return out


@pytest.mark.parametrize(
    "option",
    [{"pool": "max"}, {"upsample": "bilinear"}, {"order": "vertical-first"}],
    ids=lambda option: next(iter(option)),
)
def test_each_point_on_which_sources_differ_changes_the_function(option: dict[str, str]) -> None:
    before, after = digits_output(), digits_output(**option)
    assert (after - before).abs().max() > 1e-3 * before.abs().max()


def test_the_gates_place_matters_for_a_bilinear_upsample_only() -> None:
    before, after = digits_output(), digits_output(gate="after")
    # Sigmoids of maps of other sizes are cut into other vectors, whose last bits a processor may compute otherwise; 14
    # gates follow one another.
    assert (after - before).abs().max() <= 14 * 4 * 2**-23 * before.abs().max()
    bilinear = digits_output(upsample="bilinear")
    assert (digits_output(upsample="bilinear", gate="after") - bilinear).abs().max() > 1e-4


def test_kernel_size_is_the_number_of_taps() -> None:
    shapes = {
        (module.axis, tuple(module.weight.shape[2:]))
        for module in on_meta("ghostnetv2", kernel_size=7).modules()
        if isinstance(module, FullyConnected)
    }
    assert shapes == {("horizontal", (1, 7)), ("vertical", (7, 1))}
    with pytest.raises(UsageError, match="of another shape"):
        digits_output(kernel_size=7)


def test_se_rounding_changes_the_squeezed_channels() -> None:
    """A quarter of 116 channels, GhostNetV2 1.6's first SE, is 29: the nearest multiple of 4 is 28, the next 32."""
    squeezed = {
        rounding: [
            m.conv_reduce.out_channels
            for m in on_meta("ghostnetv2_160", se_rounding=rounding).modules()
            if isinstance(m, SqueezeExcite)
        ]
        for rounding in ("nearest", "ceil")
    }
    assert (squeezed["nearest"][0], squeezed["ceil"][0]) == (28, 32)
    assert [make_divisible(value) for value in (1, 9, 18, 29, 30)] == [4, 12, 20, 28, 32]
    assert [ceil_to(value) for value in (1, 9, 18, 28, 29)] == [4, 12, 20, 28, 32]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "median"}, "not one of avg, max"),
        ({"upsample": "bicubic"}, "not one of nearest, bilinear"),
        ({"gate": "both"}, "not one of before, after"),
        ({"order": "diagonal"}, "not one of horizontal-first, vertical-first"),
        ({"weights": "sparse"}, "not one of shared, dense"),
        ({"se_rounding": "floor"}, "not one of nearest, ceil"),
        ({"kernel_size": 4}, "kernel_size is 4, not odd and positive"),
        ({"kernel_size": -3}, "kernel_size is -3, not odd and positive"),
        ({"kernel_size": "five"}, "ghostnetv2"),
        ({"width": 0}, "width is 0, not positive"),
        ({"width": float("inf")}, "infinity"),
        ({"stem_stride": 0}, "zero"),
        ({"num_classes": -1}, "negative dimension"),
        ({"weights": "dense", "input_size": 0}, "ghostnetv2"),
        ({"weigths": "dense"}, "no option weigths.\nDid you mean weights or width?"),
        ({"zzz": 1}, "no option zzz.\nKnown: features_only, gate, head_channels"),
    ],
    ids=str,
)
def test_wrong_options_are_usage_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model("ghostnetv2").create(**options)
    assert words in str(caught.value)
