"""ShuffleNet: size and cost as published, and the same function as three other code bases with their weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.errors import UsageError
from mobilekit.models.analysis.macs import count_macs, count_params
from mobilekit.models.families.shufflenet import (
    DIALECTS,
    SCALES,
    STAGE2_CHANNELS,
    ShuffleNet,
    ShuffleUnit,
    channel_shuffle,
)
from mobilekit.models.layers import ConvBnAct
from mobilekit.models.registry import find_model, model_names
from mobilekit.models.weights import calibrate_batch_norms, load_weights
from mobilekit.recipes.load import load_recipe, recipe_for
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from tests.shufflenet_dialects import Jaxony, Megvii, Pytorchcv, randomize

IMAGE = (1, 3, 224, 224)
CLASSES = 10
# Parameters are pytorchcv's; millions of MACs are those of megvii's code, with any number of groups.
SIZES = {
    (1, 1.0): (1_531_936, 143.1),
    (2, 1.0): (1_733_848, 140.8),
    (3, 1.0): (1_865_728, 137.5),
    (4, 1.0): (1_968_344, 134.3),
    (8, 1.0): (2_434_768, 138.4),
    (3, 0.5): (718_324, 37.6),
    (8, 0.5): (None, 40.5),
    (1, 1.5): (None, 308.1),
    (3, 1.5): (None, 292.4),
    (8, 1.5): (None, 290.2),
    (1, 2.0): (None, 550.3),
    (2, 2.0): (None, 539.1),
    (3, 2.0): (None, 524.0),
    (4, 2.0): (None, 510.3),
    (8, 2.0): (None, 521.9),
}
# What our model needs to compute what the other code bases compute.
OPTIONS: dict[type[nn.Module], dict[str, str]] = {
    Megvii: {"shuffle": "after-depthwise"},
    Jaxony: {"stem": "bare", "head": "log_softmax"},
    Pytorchcv: {"concat": "main-first"},
}
CHOICES = {
    "shuffle": ("before-depthwise", "after-depthwise"),
    "concat": ("pool-first", "main-first"),
    "stem": ("bn-relu", "bare"),
    "head": ("logits", "log_softmax"),
}
NAMES = [name for name in model_names() if name.startswith("shufflenet")]


def on_meta(**options: Any) -> ShuffleNet:
    with torch.device("meta"):
        return ShuffleNet(**options)


def image(size: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(count, 3, size, size, generator=generator, dtype=torch.float64)


def output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(x)
    return out


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return max |first - second| relative to the spread of `second`, which an added constant does not hide."""
    return ((first - second).abs().max() / (second - second.mean()).abs().max()).item()


# -- size and cost -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "scale"), SIZES)
def test_parameters_and_macs_are_those_of_other_code(groups: int, scale: float) -> None:
    model = on_meta(groups=groups, scale=scale)
    params, macs = SIZES[groups, scale]
    assert params in (None, count_params(model))
    assert count_macs(model, IMAGE) == pytest.approx(macs * 1e6, abs=0.05e6)


@pytest.mark.parametrize("name", NAMES)
def test_published_figures_are_met_to_the_last_digit(name: str) -> None:
    entry = find_model(name)
    model = on_meta(**entry.defaults)
    published, macs, params = entry.published, count_macs(model, IMAGE), count_params(model)
    if entry.defaults["scale"] == 1:  # table 1 leaves out the classifier
        macs -= model.classifier.weight.numel()
    assert published.macs is not None
    assert abs(macs - published.macs) <= 0.505e6
    without_bias = params - model.classifier.bias.numel()  # megvii's classifier has none
    assert published.params in (None, params, round(without_bias, -5))
    assert published.top1 is not None


def test_stages_have_the_channels_of_table_1() -> None:
    for groups, channels in {2: (200, 400, 800), 8: (384, 768, 1536)}.items():
        model = on_meta(groups=groups)
        x = torch.empty(IMAGE, device="meta")
        x = F.max_pool2d(model.stem(x), 3, 2, 1)
        for stage, width, size in zip(model.stages, channels, (28, 14, 7), strict=True):
            x = stage(x)
            assert x.shape == (1, width, size, size)


def test_only_the_first_pointwise_convolution_is_not_grouped() -> None:
    units = [module for module in on_meta(groups=4).modules() if isinstance(module, ShuffleUnit)]
    pointwise = [layer[0].groups for unit in units for layer in (unit.compress, unit.expand)]
    assert pointwise == [1] + [4] * 31


@pytest.mark.parametrize(
    ("groups", "scale", "stem"), [(3, 0.25, 12), (3, 0.5, 12), (8, 0.5, 16), (3, 1, 24), (8, 1.5, 24), (2, 2, 48)]
)
def test_stems_scale_as_in_megviis_code(groups: int, scale: float, stem: int) -> None:
    assert on_meta(groups=groups, scale=scale).stem[0].out_channels == stem


@pytest.mark.parametrize("groups", STAGE2_CHANNELS)
def test_scales_work_or_name_those_that_do(groups: int) -> None:
    refused = []
    for scale in SCALES:
        try:
            on_meta(groups=groups, scale=scale)
        except ValueError as error:
            refused.append(scale)
            message = str(error)
            assert f"groups={groups}" in message
            nearest, usual = message.split("nearest scales that do: ")[1].split("; of the paper's: ")
            named = [float(word) for word in f"{nearest}, {usual}".split(", ")]
            assert min(named) < scale < max(named)
            for other in named:
                on_meta(groups=groups, scale=other)
    assert refused == ([0.25, 0.5, 1.5] if groups in (2, 4) else [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": 5}, "groups is 5, not one of 1, 2, 3, 4, 8"),
        ({"groups": 2, "scale": 0.5}, "gives stage 2 100 channels, not a multiple of 8"),
        ({"scale": 0.01}, "nearest scales that do: 0.05;"),
        ({"scale": 0.001}, "gives stage 2 0 channels, not a multiple of 12; nearest scales that do: 0.05;"),
        ({"scale": 0}, "scale is 0, not positive"),
        ({"scale": float("nan")}, "NaN"),
        ({"scale": float("inf")}, "infinity"),
        ({"groups": 8, "stem_channels": 12}, "stem_channels is 12, not a multiple of 8 between 1 and 383"),
        ({"scale": 0.05}, "stem_channels is 12, not a multiple of 3 between 1 and 11"),
        ({"stem_channels": 0}, "stem_channels is 0"),
        ({"shuffle": "none"}, "not one of before-depthwise, after-depthwise"),
        ({"concat": "last"}, "not one of pool-first, main-first"),
        ({"stem": "relu"}, "not one of bn-relu, bare"),
        ({"head": "softmax"}, "not one of logits, log_softmax"),
        ({"width": 1}, "no option width"),
    ],
    ids=str,
)
def test_wrong_options_are_usage_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model("shufflenet").create(**options)
    assert words in str(caught.value)


def test_small_scales_work_with_a_stem_of_their_own() -> None:
    assert output(ShuffleNet(scale=0.05, stem_channels=6, num_classes=4, in_channels=1), torch.zeros(2, 1, 9, 5)).shape
    assert count_params(on_meta(scale=0.25, stem_channels=6)) == 305_902  # pytorchcv's 0.25x
    assert count_params(on_meta(scale=0.75, stem_channels=18)) == 1_238_266


# -- the same function as others ---------------------------------------------------------------------------------------


def loaded(other: nn.Module, groups: int, folder: Path, **options: str) -> nn.Module:
    """Return our model, in float64, with the other's checkpoint."""
    torch.save({"state_dict": {f"module.{key}": value for key, value in other.state_dict().items()}}, folder / "w.pth")
    model = find_model("shufflenet").create(groups=groups, num_classes=CLASSES, **options).double()
    load_weights(model, folder / "w.pth")
    return model


@pytest.mark.parametrize("groups", [1, 3, 8])
@pytest.mark.parametrize("dialect", OPTIONS)
def test_outputs_equal_other_code_with_its_checkpoint(dialect: type[nn.Module], groups: int, tmp_path: Path) -> None:
    other = randomize(dialect(groups, CLASSES), seed=groups)
    model = loaded(other, groups, tmp_path, **OPTIONS[dialect])
    for size in (64, 97, 225):
        x = image(size)
        assert output(other, x).std() > 0.05
        assert difference(output(model, x), output(other, x)) <= 1e-12
    x = image(65).float()
    assert difference(output(model.float(), x), output(other.float(), x)) <= 1e-5


@pytest.mark.parametrize("dialect", OPTIONS)
def test_the_wrong_way_to_shuffle_shows(dialect: type[nn.Module], tmp_path: Path) -> None:
    """The same weights, names and shapes, and another function: only comparing outputs can tell."""
    for groups in (1, 3, 8):
        right, wrong = dialect(groups, CLASSES), dialect(groups, CLASSES, swap=True)
        model = loaded(randomize(right, seed=groups), groups, tmp_path, **OPTIONS[dialect])
        x = image(64)
        error = difference(output(model, x), output(randomize(wrong, seed=groups), x))
        assert error <= 1e-12 if groups == 1 else error > 0.05


@pytest.mark.parametrize("option", CHOICES)
@pytest.mark.parametrize("dialect", OPTIONS)
def test_a_model_with_another_option_is_refused(dialect: type[nn.Module], option: str, tmp_path: Path) -> None:
    default, other = CHOICES[option]
    needed = OPTIONS[dialect].get(option, default)
    wrong = default if needed == other else other
    with pytest.raises(UsageError) as caught:
        loaded(dialect(3, CLASSES), 3, tmp_path, **{**OPTIONS[dialect], option: wrong})
    assert f"this model has {option}: {wrong}." in caught.value.what
    assert caught.value.hint == f"In the recipe, set `model_options: {{{option}: {needed}}}`."


def test_all_missing_options_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jaxony's ShuffleNet, which has stem: bare, head: log_softmax;") as caught:
        loaded(Jaxony(3, CLASSES), 3, tmp_path)
    assert "{stem: bare, head: log_softmax}" in caught.value.hint


def test_a_checkpoint_of_another_shape_or_with_parts_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of another shape"):
        loaded(Pytorchcv(8, CLASSES), 3, tmp_path, concat="main-first")
    for dialect, gone, told in (
        (Megvii, "features.3.branch_main_1.4.running_var", r"stages\.0\.3\.depthwise\.1\.running_var"),
        (Pytorchcv, "output.bias", r"classifier\.bias"),
        (Jaxony, "stage3.ShuffleUnit_Stage3_7.bn_after_depthwise.running_mean", r"stages\.1\.7\.depthwise\.1"),
    ):
        other = dialect(3, CLASSES)
        state = other.state_dict()
        del state[gone]
        state["features.16.weight"] = torch.zeros(1)
        torch.save(state, tmp_path / "part.pth")
        model = ShuffleNet(num_classes=CLASSES, **OPTIONS[dialect])  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=rf"1 missing: {told}(.|\n)*unknown: .*features\.16\.weight"):
            load_weights(model, tmp_path / "part.pth")


def test_own_names_stay(tmp_path: Path) -> None:
    first, second = (find_model("shufflenet_025").create() for _ in range(2))
    torch.save(first.state_dict(), tmp_path / "own.pth")
    load_weights(second, tmp_path / "own.pth")
    assert difference(output(second.double(), image(64)), output(first.double(), image(64))) == 0


def test_each_dialect_needs_a_value_for_every_option() -> None:
    model = on_meta()
    for dialect in DIALECTS:
        assert dialect.needs.keys() == model.options.keys() == CHOICES.keys()
        assert all(value in CHOICES[name] for name, value in dialect.needs.items())
        assert dialect.needs != model.options


# -- the options -------------------------------------------------------------------------------------------------------


def test_the_shuffle_deals_channels_to_all_groups() -> None:
    x = torch.arange(6.0).reshape(1, 6, 1, 1).expand(2, 6, 3, 4)
    assert channel_shuffle(x, 2)[1, :, 2, 3].tolist() == [0, 3, 1, 4, 2, 5]
    assert torch.equal(channel_shuffle(channel_shuffle(x, 2), 3), x)
    y = torch.randn(2, 12, 3, 5)
    assert torch.equal(channel_shuffle(y, 4), nn.ChannelShuffle(4)(y))


@pytest.mark.parametrize("groups", [1, 3])
def test_where_the_shuffle_stands_matters_with_groups_alone(groups: int) -> None:
    before = randomize(ShuffleNet(groups, num_classes=CLASSES), seed=0)
    after = ShuffleNet(groups, num_classes=CLASSES, shuffle="after-depthwise").double().eval()
    after.load_state_dict(before.state_dict())
    change = difference(output(after, image(64)), output(before, image(64)))
    assert change == 0 if groups == 1 else change > 0.05


def unit(**options: Any) -> ShuffleUnit:
    made = ShuffleUnit(6, 24, 2, 3, 3, **{"shuffle": "before-depthwise", "concat": "pool-first", **options})
    randomize(made, seed=1)
    return made


def test_concat_orders_the_parts_of_a_strided_unit() -> None:
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)  # negative values too, as a bare stem gives
    pool_first, main_first = output(unit(), x), output(unit(concat="main-first"), x)
    assert torch.equal(main_first, torch.cat([pool_first[:, 6:], pool_first[:, :6]], dim=1))
    counted = F.avg_pool2d(x, 3, 2, 1, count_include_pad=True)
    assert torch.equal(pool_first[:, :6], counted.relu())
    assert pool_first[:, :6].min() == 0 < pool_first[:, 6:].max()


def test_the_two_shuffles_permute_a_units_bottleneck() -> None:
    """Inverse after the depthwise convolution = inverse before it, with that convolution's channels permuted."""
    after = unit(shuffle="after-depthwise")
    order = channel_shuffle(torch.arange(6).reshape(1, 6, 1, 1), 2).flatten()
    moved = copy.deepcopy(after.depthwise)
    moved.load_state_dict({k: v[order] if v.ndim else v for k, v in after.depthwise.state_dict().items()})
    x = torch.randn(1, 6, 9, 9, dtype=torch.float64)
    bottleneck = after.compress(x)
    assert torch.allclose(channel_shuffle(after.depthwise(bottleneck), 2), moved(channel_shuffle(bottleneck, 2)))


def test_a_bare_stem_and_log_softmax_are_what_they_say() -> None:
    model = randomize(ShuffleNet(num_classes=CLASSES, stem="bare", head="log_softmax"), seed=2)
    assert isinstance(model.stem, nn.Conv2d)
    assert model.stem.bias is not None
    out = output(model, image(64, 2))
    assert torch.allclose(out.exp().sum(1), torch.ones(2, dtype=torch.float64))
    logits = ShuffleNet(num_classes=CLASSES, stem="bare").double().eval()
    logits.load_state_dict(model.state_dict())
    assert torch.equal(output(logits, image(64, 2)).log_softmax(1), out)


# -- tracing and rewriting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {name: values[1] for name, values in CHOICES.items()}], ids=["paper", "other"])
def test_the_graph_of_each_size_computes_the_same(options: dict[str, str]) -> None:
    model = randomize(ShuffleNet(scale=0.25, num_classes=CLASSES, **options), seed=3)  # type: ignore[arg-type]
    for size, count in ((64, 1), (65, 2), (33, 3)):
        graph = trace(model, {"input": image(size, 1)})
        assert torch.equal(output(graph, image(size, count)), output(model, image(size, count)))


def test_the_recipe_folds_every_batch_norm_with_proof() -> None:
    assert sorted(load_recipe("shufflenet").recipe.models) == NAMES
    model = find_model("shufflenet").create()
    calibrate_batch_norms(model, [{"input": image(96, 4).float()}])
    result = rewrite(model, recipe_for("shufflenet"))
    step = next(step for step in result.steps if step.name == "fold-batch-norm")
    assert (step.name, len(step.applied), step.refused) == ("fold-batch-norm", 49, ())
    assert step.proof is not None
    assert step.proof.holds
    assert len(step.proof.cases) == 2
    assert not any(isinstance(module, nn.BatchNorm2d) for module in result.graph.modules())
    assert sum(isinstance(module, ConvBnAct) for module in model.modules()) == 49
    x = image(224).float()
    assert difference(output(result.graph, x), output(model, x)) <= 2e-5
