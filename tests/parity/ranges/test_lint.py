"""The range lint on modules whose ranges are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from mobilekit.cli.render.ranges import float16_lines, range_lines, verdict_line
from mobilekit.errors import UsageError
from mobilekit.jobs.ranges import Ranges, ranges_of_bundle, ranges_of_model
from mobilekit.jobs.source import Source
from mobilekit.parity.ranges.activations import record
from mobilekit.parity.ranges.float16 import to_float16
from mobilekit.parity.ranges.lint import lint
from mobilekit.parity.ranges.result import RangeLint, RangeWarning, Severity
from mobilekit.recipes.load import LoadedRecipe, recipe_for
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Calibration, Int8, Recipe, RewriteStep
from mobilekit.rewrites.fx.graph import path_of, trace
from tests.conftest import ROOT, Cli

Array = NDArray[np.float32]


class Inside(nn.Module):
    """A module at a path: `net.body`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential()
        self.net.add_module("body", body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Step(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)  # type: ignore[operator,no-any-return]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def linted(body: nn.Module, inputs: Array, keep_float: Sequence[str] = ()) -> list[RangeWarning]:
    recipe = Recipe(int8=Int8(keep_float=tuple(keep_float)))  # type: ignore[arg-type]
    graph = trace(Inside(body).eval(), {"input": torch.from_numpy(inputs[:1])})
    return list(lint(graph, {"input": inputs}, recipe)[0].warnings)


def only(found: list[RangeWarning], *kinds: str) -> RangeWarning:
    (one,) = [warning for warning in found if warning.kind in kinds]
    return one


PICTURES = normal(40, 4, 8, 8)


def test_pictures_through_healthy_layers_warn_of_nothing() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    assert linted(layers, PICTURES) == []


# -- float16 -----------------------------------------------------------------------------------------------------------


def quotient(eps: float) -> Step:
    def divide(x: torch.Tensor) -> torch.Tensor:
        positive = torch.relu(x)
        return positive / (positive.sum(1, keepdim=True) + eps)

    return Step(divide)


@pytest.mark.parametrize(
    ("eps", "severity", "says"),
    [
        (1e-15, "severe", "infinite or not a number in float16: eps 1e-15 is 0 in float16"),
        (1e-8, "severe", "infinite or not a number in float16: eps 1e-08 is 0 in float16"),
        (1e-5, "warning", "in float16 without subnormal numbers: eps 1e-05 is below float16's least normal number"),
        (2.0**-14, None, ""),
        (1e-3, None, ""),
    ],
)
def test_an_eps_that_float16_does_not_have(eps: float, severity: str | None, says: str) -> None:
    inputs = PICTURES.copy()
    inputs[3, :, 2, 2] = -1  # nothing is left of these by the ReLU
    found = [one for one in linted(quotient(eps), inputs, ["division"]) if one.kind == "float16-denominator"]
    if severity is None:
        assert found == []
        return
    (warning,) = found
    assert (warning.severity, warning.module) == (severity, "net.body")
    assert says in warning.text
    zeros = (np.maximum(inputs, 0).sum(1) == 0).mean()
    assert warning.figure == pytest.approx(zeros)
    assert "safe-denominator" in warning.advice


def test_an_eps_that_matters_on_other_inputs_is_told_with_the_least_denominator() -> None:
    warning = only(linted(quotient(1e-8), np.abs(PICTURES) + 1, ["division"]), "float16-denominator")
    assert warning.severity == "warning"
    least = (np.abs(PICTURES) + 1).sum(1).min()
    assert f"eps 1e-08 is 0 in float16, and the denominator may be 0; the least one here is {least:.2g}" == warning.text


def test_a_denominator_of_any_sign_is_told_to_raise_eps() -> None:
    step = Step(lambda x: x / (x.sum(1, keepdim=True) + 1e-8))
    inputs = PICTURES.copy()
    inputs[0, :, 0, 0] = (1, -1, 2, -2)
    warning = only(linted(step, inputs, ["division"]), "float16-denominator")
    assert (warning.severity, warning.module) == ("severe", "net.body")
    assert warning.advice.startswith("Add 2^-14")


def test_the_rewrite_that_is_named_helps() -> None:
    inputs = PICTURES.copy()
    inputs[3, :, 2, 2] = -1
    clamped = Step(lambda x: torch.relu(x) / torch.clamp(torch.relu(x).sum(1, keepdim=True) + 1e-15, min=2.0**-14))
    assert [one for one in linted(clamped, inputs, ["division"]) if one.kind == "float16-denominator"] == []


@pytest.mark.parametrize("root", [torch.rsqrt, lambda x: 1 / torch.sqrt(x)], ids=["rsqrt", "1 / sqrt"])
def test_roots_of_what_float16_has_as_zero(root: object) -> None:
    step = Step(lambda x: root(x.square().mean((1, 2, 3)) + 1e-8))  # type: ignore[operator]
    inputs = PICTURES.copy()
    inputs[5] = 0
    warning = only(linted(step, inputs, ["division"]), "float16-denominator")
    assert (warning.severity, warning.module) == ("severe", "net.body")
    assert warning.figure == pytest.approx(1 / 40)


def test_a_layer_norm_of_nothing() -> None:
    inputs = PICTURES.reshape(40, 256).copy()
    inputs[7] = 3
    warning = only(linted(nn.LayerNorm(256, eps=1e-12), inputs), "float16-denominator")
    assert (warning.severity, warning.module) == ("severe", "net.body")
    assert "a variance of 0 with eps 1e-12 is 0 in float16" in warning.text
    assert only(linted(nn.LayerNorm(256, eps=1e-5), inputs), "float16-denominator").severity == "warning"
    assert [one.kind for one in linted(nn.LayerNorm(256, eps=1e-4), inputs)] == []


def test_a_sum_of_70000() -> None:
    ones = np.ones((4, 7, 100, 100), np.float32) * np.linspace(0.9, 1, 4, dtype=np.float32)[:, None, None, None]
    warning = only(linted(Step(lambda x: x.sum((1, 2, 3))), ones), "float16-overflow")
    assert (warning.severity, warning.module, warning.figure) == ("severe", "net.body", pytest.approx(70_000))
    assert warning.text == "values up to 7e+04, and float16 ends at 65504"
    assert "float32" in warning.advice
    half = only(linted(Step(lambda x: x.sum((1, 2, 3)) * 1.0), ones * 0.5), "float16-overflow")
    assert (half.severity, half.figure) == ("warning", pytest.approx(35_000))


def test_an_overflow_is_told_where_it_first_comes_up() -> None:
    big = Step(lambda x: torch.relu(x * 10_000.0 * x) * 2 + 1)
    found = [one for one in linted(big, PICTURES) if one.kind == "float16-overflow"]
    assert [(one.severity, one.step) for one in found] == [("severe", "mul_1"), ("warning", "mul")]


@pytest.mark.parametrize("form", ["mean", "pool"])
def test_a_mean_of_a_sum_of_70000(form: str) -> None:
    ones = np.ones((4, 2, 100, 100), np.float32) * 7
    body = nn.AdaptiveAvgPool2d(1) if form == "pool" else Step(lambda x: x.mean((2, 3)))
    warning = only(linted(body, ones), "float16-sum")
    assert (warning.severity, warning.module, warning.figure) == ("severe", "net.body", pytest.approx(70_000))
    assert "a mean over 10000 values, whose sum is up to 7e+04" in warning.text
    assert [one for one in linted(body, ones / 3) if one.kind == "float16-sum"] == []


def test_squares_of_a_layer_norm_that_overflow() -> None:
    warning = only(linted(nn.LayerNorm(256), PICTURES.reshape(40, 256) * 20), "float16-sum")
    sums = (PICTURES.reshape(40, 256).var(1) * 400 * 256).max()
    assert (warning.severity, warning.module, warning.figure) == ("severe", "net.body", pytest.approx(sums, rel=1e-4))


def test_values_that_vanish() -> None:
    warning = only(linted(Step(lambda x: x * 1e-6), PICTURES), "float16-underflow")
    assert (warning.severity, warning.module, warning.figure) == ("severe", "net.body", 1.0)
    warning = only(linted(Step(lambda x: x * 1e-4), PICTURES), "float16-underflow")
    assert warning.severity == "warning"
    assert linted(Step(lambda x: x * 1e-2), PICTURES) == []


@given(st.floats(-70_000, 70_000, width=32))
def test_rounding_to_float16_is_numpys(value: float) -> None:
    with np.errstate(over="ignore"):
        wanted = np.float32(value).astype(np.float16)
    x = torch.tensor([value])
    assert to_float16(x).numpy()[0] == wanted
    assert to_float16(x, subnormals=False).numpy()[0] == (0 if abs(wanted) < 2.0**-14 else wanted)


# -- int8 --------------------------------------------------------------------------------------------------------------


def test_a_range_of_outliers() -> None:
    inputs = normal(40, 4, 32, 32)
    inputs[:, 0, 0, 0] = np.linspace(400, 500, 40)  # one value of 4096, in every input
    warning = only(linted(Step(lambda x: x * 1.0), inputs), "int8-outliers")
    assert (warning.kind, warning.severity) == ("int8-outliers", "warning")
    step = (500 - inputs.min()) / 255
    assert warning.figure == pytest.approx(20 * np.log10(1 / (step / np.sqrt(12))), abs=0.5)
    assert "the range is -" in warning.text and "to 500" in warning.text
    assert "dynamic or float16" in warning.advice


def test_one_input_that_makes_the_range_is_named() -> None:
    inputs = PICTURES.copy()
    inputs[11, 2, 3, 3] = 300
    warning = only(linted(Step(lambda x: x * 1.0), inputs), "int8-outliers")
    assert warning.advice.startswith("Calibration input 11 alone makes this range")
    inputs[5, 0, 2, 2] = -290
    assert " alone " not in only(linted(Step(lambda x: x * 1.0), inputs), "int8-outliers").advice


def test_outliers_in_a_part_that_can_stay_in_float() -> None:
    inputs = np.abs(normal(40, 4, 32, 32)) + 1
    inputs[:, 0, 0, 0] = 1e-3

    def divide(x: torch.Tensor) -> torch.Tensor:
        return x.flip(-1) / x

    found = [one for one in linted(Step(divide), inputs) if one.kind == "int8-outliers" and one.step == "div"]
    assert [one.module for one in found] == ["net.body"] * len(found) and found
    assert found[0].advice == "`int8: {keep_float: [division]}` in the recipe leaves this in float."
    assert [one for one in linted(Step(divide), inputs, ["division"]) if one.step == "div"] == []


def test_an_outlier_channel() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, 1)
    with torch.no_grad():
        layer.weight[5] *= 100
    warning = only(linted(layer, PICTURES), "int8-channels")
    assert (warning.module, warning.severity) == ("net.body", "warning")
    assert "the widest, channel 5, goes from" in warning.text
    with torch.no_grad():
        outputs = layer(torch.from_numpy(PICTURES))
    widths = (outputs.amax((0, 2, 3)) - outputs.amin((0, 2, 3))).sort().values
    assert warning.figure == pytest.approx(255 * float(widths[3] / widths[-1]), rel=0.1)


# -- calibration -------------------------------------------------------------------------------------------------------


def test_ranges_that_still_grow() -> None:
    growing = PICTURES * np.exp(np.linspace(0, 2, 40, dtype=np.float32))[:, None, None, None]
    warning = only(linted(nn.Conv2d(4, 4, 1), growing), "calibration-small")
    assert warning.figure == 1.0
    assert "with all 40 calibration inputs than with half of them, most of all net.body (x 1." in warning.text
    assert "--calibration" in warning.advice and "calibration.count" in warning.advice
    assert [one for one in linted(nn.Conv2d(4, 4, 1), PICTURES) if one.kind == "calibration-small"] == []


def test_one_calibration_input_is_too_few() -> None:
    assert "ranges of one calibration input" in only(linted(nn.Conv2d(4, 4, 1), PICTURES[:1]), "calibration-small").text


# -- models ------------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_what_was_there() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(216, 5)).eval()
    graph = trace(layers, {"input": torch.from_numpy(PICTURES[:1])})
    seen = {path_of(node): one for node, one in record(graph, {"input": PICTURES}).activations.items()}
    with torch.no_grad():
        outputs = layers[0](torch.from_numpy(PICTURES))
        logits = layers(torch.from_numpy(PICTURES))
    torch.testing.assert_close(torch.cat(seen["0"].lows), outputs.flatten(1).amin(1))
    torch.testing.assert_close(torch.cat(seen["0"].highs), outputs.flatten(1).amax(1))
    torch.testing.assert_close(seen["0"].channel_high, outputs.amax((0, 2, 3)))
    torch.testing.assert_close(seen["3"].sample.sort().values, logits.flatten().sort().values)
    assert seen["1"].low == 0.0


def test_a_trained_model_gives_no_alarm() -> None:
    found = ranges_of_model(source("ghostnetv2_digits"))
    assert found.lint.to_json() == {"inputs": 100, "warnings": []}
    assert 1e-4 < found.float16_losses["logits"] < 1e-2
    few = adjusted("ghostnetv2_digits", calibration=Calibration(count=3))
    assert [one.kind for one in ranges_of_model(Source("ghostnetv2_digits", few)).lint.warnings] == [
        "calibration-small"
    ]


def source(name: str) -> Source:
    return Source(name, recipe_for(name))


def adjusted(name: str, **changes: object) -> LoadedRecipe:
    loaded = recipe_for(name)
    return replace(loaded, recipe=loaded.recipe.model_copy(update=changes))


def test_the_authors_eps_in_efficientvits_attention() -> None:
    small = Input(size=64, crop=0.95)
    given = {"input": small, "calibration": Calibration(count=4), "model_options": {"eps": 1e-15}, "int8": Int8()}
    found = ranges_of_model(Source("efficientvit_b1", adjusted("efficientvit_b1", **given))).lint.warnings
    attentions = {
        f"stages.{stage}.blocks.{block}.context_module.main.attention"
        for stage, block in ((2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3), (3, 4))
    }
    denominators = [one for one in found if one.kind == "float16-denominator"]
    assert {one.module for one in denominators} == attentions and len(denominators) == 7
    assert all("eps 1e-15 is 0 in float16" in one.text and "safe-denominator" in one.advice for one in denominators)
    safe = RewriteStep(name="safe-denominator", max_drift=0.001)
    mended = adjusted("efficientvit_b1", **given, rewrites=(RewriteStep(name="fold-batch-norm"), safe))
    kinds = {one.kind for one in ranges_of_model(Source("efficientvit_b1", mended)).lint.warnings}
    assert "float16-denominator" not in kinds


def test_a_bundle_has_its_warnings_and_gives_them_again(digits_bundle: Path, cli: Cli) -> None:
    written = json.loads((digits_bundle / "ledger.json").read_text())["ranges"]
    assert written == {"inputs": 100, "warnings": []}
    done = cli("ranges", digits_bundle, "--json")
    content = json.loads(done.stdout)
    assert (content["model"], content["recipe"]) == ("ghostnetv2_digits", "ghostnetv2_digits")
    assert content["warnings"] == []
    told, verdict = cli("ranges", digits_bundle).stdout.splitlines()
    assert told.startswith("In float16 arithmetic, as on GPUs and NPUs, logits moves by ")
    assert verdict == "Ranges on 100 calibration inputs: nothing to warn of."
    assert content["float16_arithmetic"]["logits"] < 1e-2
    refused = cli("ranges", digits_bundle, "--recipe", "ghostnetv2")
    assert refused.returncode == 2 and "is a bundle" in refused.stderr
    refused = cli("ranges", "ghostnetv2_digits", "--reference", "a.py:b")
    assert refused.returncode == 2 and "--reference names the code of a bundle's model" in refused.stderr


def test_weights_that_mean_nothing_are_noted(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef fresh():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))\n"
        "\ndef trained():\n    net = fresh()\n    net[1].running_mean += 1\n    return net\n"
    )
    done = cli("ranges", "net.py:fresh", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: the model has the weights that net.py:fresh gives it; its batch norms were never" in done.stderr
    assert "note" not in cli("ranges", "net.py:trained", cwd=tmp_path).stderr
    drawn = cli("ranges", "net.py:trained", "--weights", "none", cwd=tmp_path).stderr
    assert "note: the model has seeded random weights (seed 0), batch norms calibrated" in drawn


def test_rubbish_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ghostnetv3"):
        ranges_of_model(source("ghostnetv3"))
    with pytest.raises(UsageError, match="There is no picture in"):
        ranges_of_model(replace(source("ghostnetv2_digits"), calibration=tmp_path))
    with pytest.raises(UsageError, match="is not a bundle"):
        ranges_of_bundle(tmp_path)


# -- on the terminal ---------------------------------------------------------------------------------------------------


def warning(kind: str, number: int, severity: Severity = "warning") -> RangeWarning:
    return RangeWarning(kind, severity, f"net.{number}", f"net_{number}", 1.0, 2.0, "it is so", f"mend {kind}")


def test_an_export_prints_a_handful_and_counts_the_rest() -> None:
    many = (warning("b", i) for i in range(7))
    lint = RangeLint(84, (warning("a", 0, "severe"), *many, *(warning(kind, 9) for kind in "cdefg")))
    assert range_lines(lint) == [
        "severe a: net.0: it is so",
        "warning b: net.0 (and 6 other steps): it is so",
        "warning c: net.9: it is so",
        "4 more warnings; `mobilekit ranges` shows all",
    ]
    assert len(range_lines(lint, in_full=True)) == 13 + 7
    assert verdict_line(lint) == "Ranges on 84 calibration inputs: 1 severe, 12 other warnings."
    assert range_lines(RangeLint(1, ())) == []


def test_the_json_is_what_it_was() -> None:
    content = json.loads((ROOT / "tests" / "data" / "json" / "ranges.json").read_text())
    warnings = tuple(RangeWarning(**each) for each in content["warnings"])
    lint = RangeLint(content["inputs"], warnings)
    about = (content["model"], content["recipe"], content["weights"])
    found = Ranges(*about, is_trained=False, lint=lint, float16_losses={"a": 0.25, "b": math.nan})
    added = {"notes": [], "float16_arithmetic": {"a": 0.25, "b": None}}
    assert json.loads(json.dumps(found.to_json())) == {**content, **added}, "keys are only added"
    assert float16_lines(found.float16_losses) == [
        "In float16 arithmetic, as on GPUs and NPUs, a moves by 2.5e-01 (relative L2, simulated).",
        "In float16 arithmetic, as on GPUs and NPUs, b is no number: values leave float16's range (simulated).",
    ]
