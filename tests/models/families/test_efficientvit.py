"""EfficientViT: size and cost as published, timm's function with timm's weights, and the attention's definition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.analysis.macs import count_macs, count_params
from mobilekit.models.build import probe_model
from mobilekit.models.families.efficientvit import Attention, Backbone, MBConv, Residual
from mobilekit.models.linear_attention import ReLULinearAttention
from mobilekit.models.registry import find_model
from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms, load_weights
from mobilekit.rewrites.fx.graph import trace

# Parameters exactly, and MACs in millions as measured on the authors' architecture.
RELEASED = {
    "efficientvit_b0": (3_410_008, 100.2),
    "efficientvit_b1": (9_102_024, 519.2),
    "efficientvit_b2": (24_330_712, 1584.9),
    "efficientvit_b3": (48_646_056, 3953.8),
}
NAMES = ["efficientvit", *RELEASED]
IMAGE = (1, 3, 224, 224)


@cache
def cost(name: str, **options: Any) -> tuple[int, int]:
    with torch.device("meta"):
        model = find_model(name).create(**options)
    return count_params(model), count_macs(model, IMAGE)


def seeded(name: str, **options: Any) -> Backbone:
    """The model with seeded weights, and batch norms that give sane activations."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = find_model(name).create(**options)
        calibrate_batch_norms(model, [{"input": torch.randn(4, 3, 64, 64)}])
    assert isinstance(model, Backbone)
    return model


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_family_has_its_size_and_cost(name: str) -> None:
    params, macs = RELEASED[name]
    assert cost(name)[0] == params
    assert cost(name)[1] == pytest.approx(macs * 1e6, rel=0.001)


@pytest.mark.parametrize(
    ("name", "params_digit", "macs_digit"),
    [("efficientvit_b1", 1e5, 1e7), ("efficientvit_b2", 1e6, 1e8), ("efficientvit_b3", 1e6, 1e8)],
)
def test_published_figures_are_met_to_their_last_digit(name: str, params_digit: float, macs_digit: float) -> None:
    published = find_model(name).published
    assert published.params is not None
    assert published.macs is not None
    assert abs(cost(name)[0] - published.params) <= params_digit / 2
    assert abs(cost(name)[1] - published.macs) <= macs_digit / 2


def test_the_first_version_costs_what_its_paper_says() -> None:
    """Beside 400M MACs, no figure was published: the others are of a second implementation (facts of the project)."""
    assert find_model("efficientvit").published.macs == 400_000_000
    params, macs = cost("efficientvit")
    assert macs == pytest.approx(400e6, rel=0.03)
    assert (params, macs) == (pytest.approx(5.28e6, rel=1e-3), pytest.approx(406e6, rel=1e-3))
    narrow = cost("efficientvit", attention_width=1)
    plain = cost("efficientvit", attention_width=1, downsample="counted")
    assert narrow[1] == pytest.approx(352e6, rel=1e-3)
    assert plain == (pytest.approx(4.77e6, rel=1e-3), pytest.approx(312e6, rel=2e-3))


@pytest.mark.parametrize("name", ["efficientvit_b0", "efficientvit_b1", "efficientvit_b2"])
def test_outputs_equal_timm_with_the_same_weights(name: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        other = import_timm().create_model(name).eval()
        calibrate_batch_norms(other, [{"input": torch.randn(4, 3, 64, 64)}])
    torch.save({"state_dict": other.state_dict()}, tmp_path / "timm.pth")
    model = find_model(name).create()
    load_weights(model, tmp_path / "timm.pth")
    for size in (64, 224) if name != "efficientvit_b2" else (64,):
        x = noise(1, 3, size, size, seed=size)
        with torch.no_grad():
            ours, theirs = model(x), other(x)
        assert theirs.std() > 0.1  # the outputs carry something to compare
        # Sums in another order: float32's 6e-8 a rounding, times some tens of layers; 1e-6 is seen.
        assert (ours - theirs).abs().max() <= 1e-5 * max(1.0, float(theirs.abs().max()))
    with torch.no_grad():
        exact = model.double()(x.double())
        assert (exact - theirs).abs().max() <= 1e-5


def mit_name(key: str) -> str:
    """The authors' name of a parameter that timm and we call `key`."""
    rules = (
        (r"^stem\.in_conv\.", "backbone.input_stem.op_list.0."),
        (r"^stem\.res0\.", "backbone.input_stem.op_list.1."),
        (r"^stages\.(\d+)\.blocks\.(\d+)\.", r"backbone.stages.\1.op_list.\2."),
        (r"^head\.in_conv\.", "head.op_list.0."),
        (r"^head\.classifier\.0\.", "head.op_list.2.linear."),
        (r"^head\.classifier\.1\.", "head.op_list.2.norm."),
        (r"^head\.classifier\.4\.", "head.op_list.3.linear."),
    )
    for pattern, name in rules:
        key, changed = re.subn(pattern, name, key)
        if changed:
            return key
    raise AssertionError(key)


@pytest.mark.parametrize(("name", "count"), [("efficientvit_b1", 272), ("efficientvit_b0", None)])
def test_checkpoints_of_the_authors_land_whole(name: str, count: int | None, tmp_path: Path) -> None:
    model, filled = find_model(name).create(), find_model(name).create()
    own = model.state_dict()
    given = {
        mit_name(key): noise(*tensor.shape, seed=i) if tensor.is_floating_point() else tensor
        for i, (key, tensor) in enumerate(own.items())
    }
    assert len(given) == (count or len(own))
    torch.save({"state_dict": given}, tmp_path / "mit.pt")
    load_weights(filled, tmp_path / "mit.pt")
    landed = filled.state_dict()
    assert list(landed) == list(own)
    assert all(torch.equal(landed[key], given[mit_name(key)]) for key in own)


def test_a_second_block_in_the_stem_is_named_as_in_timm() -> None:
    model = find_model("efficientvit_b0").create(depths=(2, 2, 2, 2, 2))
    state = {"backbone.input_stem.op_list.2.main.depth_conv.conv.weight": torch.zeros(8, 1, 3, 3)}
    (name,) = model.translate_checkpoint(state)
    assert name == "stem.res1.main.depth_conv.conv.weight"
    assert name in model.state_dict()


@pytest.mark.parametrize(
    ("name", "channels"),
    [("efficientvit", (48, 96, 192)), ("efficientvit_b0", (32, 64, 128)), ("efficientvit_b1", (64, 128, 256))],
)
def test_features_are_p2_to_p4(name: str, channels: Sequence[int]) -> None:
    with torch.device("meta"):
        model = find_model(name).create()
        assert isinstance(model, Backbone)
        maps = model.features(torch.empty(2, 3, 256, 192))
    assert [tuple(p.shape) for p in maps] == [
        (2, c, 256 // s, 192 // s) for c, s in zip(channels, (8, 16, 32), strict=True)
    ]


def tokens(count: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values: 2 images, 3 heads of 4 channels; one query has nothing above 0."""
    query, key, value = noise(3, 2, 3, 4, count).double()
    query[0, 0, :, 5] = -1
    return query, key, value


def test_attention_is_the_average_over_tokens_that_the_paper_defines() -> None:
    query, key, value = tokens()
    eps = 1e-3
    expected = torch.zeros_like(query)
    for n in range(2):
        for head in range(3):
            for t in range(9):
                q = query[n, head, :, t].clamp(min=0)
                weights = [float(key[n, head, :, s].clamp(min=0) @ q) for s in range(9)]
                for s, weight in enumerate(weights):
                    expected[n, head, :, t] += value[n, head, :, s] * weight / (sum(weights) + eps)
    out = ReLULinearAttention(eps)(query, key, value)
    assert (out - expected).abs().max() <= 1e-14
    assert not out[0, 0, :, 5].any()
    assert out.abs().max() <= value.abs().max()


def test_the_order_of_the_products_does_not_matter() -> None:
    query, key, value = tokens(50)
    attention = ReLULinearAttention()
    similarity = key.relu().transpose(-1, -2) @ query.relu()  # (tokens, tokens): the quadratic way
    quadratic = value @ similarity / (similarity.sum(-2, keepdim=True) + attention.eps)
    assert (attention(query, key, value) - quadratic).abs().max() <= 1e-12


def test_a_small_eps_gives_nan_in_float16_and_the_default_does_not() -> None:
    query, key, value = (x.half() for x in tokens())
    assert ReLULinearAttention(1e-15)(query, key, value).isnan().any()
    assert not ReLULinearAttention()(query, key, value).isnan().any()


@pytest.mark.parametrize("name", ["efficientvit", "efficientvit_b1"])
def test_eps_of_the_authors_and_of_timm_give_the_same_outputs(name: str) -> None:
    model, other = seeded(name), find_model(name).create(eps=1e-15)
    other.load_state_dict(model.state_dict())
    x = noise(2, 3, 64, 64)
    with torch.no_grad():
        assert (model(x) - other(x)).abs().max() <= 5e-5 * max(1.0, float(model(x).abs().max()))


@pytest.mark.parametrize("name", ["efficientvit", "efficientvit_b0"])
def test_the_graph_of_each_size_computes_the_same(name: str) -> None:
    model = seeded(name)
    for height, width in ((64, 64), (96, 32)):
        graph = trace(model, {"input": torch.zeros(1, 3, height, width)})
        for count in (1, 2):
            x = noise(count, 3, height, width)
            with torch.no_grad():
                assert torch.equal(graph(x), model(x))


def test_downsample_blocks_of_the_first_version_have_a_pooled_shortcut() -> None:
    model = seeded("efficientvit")
    block = model.stages[0][0][0]
    x = noise(1, 16, 8, 8)
    with torch.no_grad():
        pooled = x.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))
        expected = block.main(x) + block.shortcut[2](block.shortcut[1](pooled))
        assert torch.allclose(block(x), expected, atol=1e-6)


def test_the_first_version_is_built_as_its_paper_says() -> None:
    with torch.device("meta"):
        model = find_model("efficientvit").create()
    kinds = {type(module) for module in model.modules() if not list(module.children())}
    assert nn.Hardswish in kinds
    assert not kinds & {nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.LayerNorm}
    kernels = {
        name.split(".")[0]: {m.kernel_size[0] for m in part.modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
        for name, part in model.named_children()
    }
    assert kernels == {"stem": {3}, "stages": {5}, "head": set()}
    attentions = [name for name, module in model.named_modules() if isinstance(module, ReLULinearAttention)]
    assert [sum(name.startswith(f"stages.{i}.") for name in attentions) for i in range(4)] == [0, 0, 5, 2]


def test_an_input_that_the_first_version_cannot_halve_is_refused_with_the_next_size() -> None:
    """The stem halves 63 to 32 as it does 64; after it, every size must be even."""
    with pytest.raises(UsageError, match=r"next larger size that it takes is 63\."):
        probe_model(find_model("efficientvit"), {}, {"input": (1, 3, 60, 60)})
    probe_model(find_model("efficientvit_b0"), {}, {"input": (1, 3, 60, 60)})


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("efficientvit", {"downsample": "none"}, "not one of extra, counted"),
        ("efficientvit", {"attention_width": 0}, "attention_width is 0, not positive"),
        ("efficientvit", {"head_dim": 0}, "head_dim is 0, not positive"),
        ("efficientvit", {"head_dim": 500}, "96 channels do not make a head of 500"),
        ("efficientvit", {"eps": 0}, "eps is 0, not positive"),
        ("efficientvit", {"eps": "small"}, "efficientvit"),
        ("efficientvit", {"stem_depth": -1}, "stem_depth is -1, negative"),
        ("efficientvit", {"head_widths": (1280,)}, "head_widths is [1280], not 2 positive numbers"),
        ("efficientvit", {"num_classes": -1}, "negative dimension"),
        ("efficientvit", {"head_dims": 16}, "no option head_dims.\nDid you mean head_dim"),
        ("efficientvit_b0", {"widths": (8, 16, 32, 64)}, "widths is [8, 16, 32, 64], not 5 positive numbers"),
        ("efficientvit_b0", {"depths": (1, 2, 2, 2, 0)}, "depths is [1, 2, 2, 2, 0], not 5 positive numbers"),
        ("efficientvit_b0", {"head_widths": 1024}, "efficientvit_b0"),
        ("efficientvit_b0", {"head_dim": 0}, "head_dim is 0, not positive"),
        ("efficientvit_b0", {"head_dim": 128}, "64 channels do not make a head of 128"),
        ("efficientvit_b0", {"eps": float("nan")}, "eps is nan, not positive"),
        ("efficientvit_b0", {"width": 1}, "no option width.\nDid you mean widths"),
    ],
    ids=str,
)
def test_wrong_options_are_usage_errors(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model(name).create(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["efficientvit", "efficientvit_b1"])
def test_untrained_branches_add_as_much_variance_as_there_was_before_them(name: str) -> None:
    model = find_model(name).create()
    branches = [
        one.main for one in model.modules() if isinstance(one, Residual) and isinstance(one.shortcut, nn.Identity)
    ]
    gammas = [branch.proj if isinstance(branch, Attention) else branch.point_conv for branch in branches]
    assert sum(conv.norm.weight[0].item() ** 2 for conv in gammas) == pytest.approx(1)
    others = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m not in [conv.norm for conv in gammas]]
    assert others
    assert all((norm.weight == 1).all() for norm in others)


def test_untrained_blocks_without_batch_norms_keep_the_variance_before_each_hard_swish() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = MBConv(64, 64, 5, inner_norms=False)
    with torch.no_grad():
        expanded = block.inverted_conv.conv(noise(4, 64, 24, 24))
        # Independent values: after the first convolution, neighbors share nothing.
        mixed = block.depth_conv.conv(nn.functional.hardswish(noise(4, 256, 24, 24, seed=1)))[..., 2:-2, 2:-2]
    assert expanded.std() == pytest.approx(1, abs=0.05)
    assert mixed.pow(2).mean().sqrt() == pytest.approx(1, abs=0.1)
