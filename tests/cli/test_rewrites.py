"""`mobilekit rewrites explain` and `rank`: every site and figure, as text, JSON and pictures."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from mobilekit.cli import app as application
from mobilekit.cli.render.rewrites import explanation, ranking, step_yaml
from mobilekit.cli.render.steps import step_lines
from mobilekit.errors import UsageError
from mobilekit.jobs.rank_rewrites import step_for
from mobilekit.recipes.load import parse_recipe
from mobilekit.rewrites.exactness import Exactness
from mobilekit.rewrites.report import Proof, Refusal, StepReport

Run = Callable[..., tuple[int, str, str]]
FEW = "input: {size: 16}\ncalibration: {count: 6}\n"
NET = """
from torch import nn

def stage(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())

def make():
    stages = [stage(3, 8), stage(8, 8), stage(8, 16)]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
"""
SWAPS = ["0.2", "1.2", "2.2"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; return exit code, output and errors."""
    monkeypatch.setenv("MOBILEKIT_DEBUG", "")
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mobilekit", "rewrites", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            application.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err

    return call


@pytest.fixture
def net(tmp_path: Path) -> str:
    """A small model of the user's own: three SiLUs."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:make"


@pytest.fixture
def few(tmp_path: Path) -> Callable[[str], Path]:
    """Write a recipe of few small inputs with these steps."""

    def write(steps: str) -> Path:
        path = tmp_path / "few.yaml"
        path.write_text(FEW + steps)
        return path

    return write


def content_of(said: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = said
    assert code == 0, err
    content: dict[str, Any] = json.loads(out)
    return content


def shown(renderable: Any) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


# -- explain -----------------------------------------------------------------------------------------------------------


def test_explain_shows_each_site_its_proof_and_its_cost(run: Run) -> None:
    content = content_of(run("explain", "ghostnetv2_digits", "--json"))
    steps = {step["name"]: step for step in content["steps"]}
    assert list(steps)[:4] == ["dfc-shared", "gate-before-upsample", "fold-batch-norm", "noop-slice"]
    for name, count in (("dfc-shared", 28), ("fold-batch-norm", 122), ("noop-slice", 32)):
        step = steps[name]
        assert [site["applied"] for site in step["sites"]] == [True] * count
        assert 0 <= step["proof_error"] <= 1e-9
        assert step["exactness"].startswith("exact")
        assert step["float32"]["holds"] is True
        assert step["drift"] is None
    gates = steps["gate-before-upsample"]["sites"]
    assert Counter((site["applied"], site["reason"]) for site in gates) == {
        (False, "the gate is on the small map already"): 14
    }
    assert steps["fold-batch-norm"]["changed_ops"] == {"BatchNorm2d": -122}
    assert steps["dfc-shared"]["changed_ops"] == {"SharedFullyConnected": -28, "Conv2d": 28}
    pools = [site["detail"] for site in steps["pool-as-depthwise"]["sites"]]
    costs = [int(detail.removesuffix(" MACs").replace(",", "")) for detail in pools]
    assert len(costs) == 14
    assert content["after"]["macs"] - content["before"]["macs"] == sum(costs) > 0
    assert steps["dfc-shared"]["ops"][0] == content["before"]["ops"]
    assert content["before"]["ops"] - steps["noop-slice"]["ops"][1] == 122 + 32
    assert content["before"]["kinds"]["BatchNorm2d"] == 122
    assert content["steps"][-1]["ops"][1] == content["after"]["ops"]

    lines = shown(explanation(content)).splitlines()
    assert "  applied blocks.*.*.ghost1.attention.horizontal (14)" in lines
    assert "  skipped blocks.*.*.ghost1.attention.sigmoid (14): the gate is on the small map already" in lines
    assert any(line.startswith("fold-batch-norm (exact-when): 122 sites; float64 error ") for line in lines)
    assert lines[-1].startswith("In all: MACs 1.41M -> 1.42M, ops ")

    first = steps["noop-slice"]["sites"][0]
    alone = {**content, "steps": [{**steps["noop-slice"], "sites": [first]}]}
    assert f"  applied {first['path']}" in shown(explanation(alone)), "one of its kind has no pattern for a path"


def test_one_rewrite_alone_need_not_be_in_the_recipe(run: Run, net: str, few: Callable[[str], Path]) -> None:
    arguments = ("explain", net, "--recipe", few("rewrites: [{name: fold-batch-norm}]"), "--rewrite", "hard-swish")
    content = content_of(run(*arguments, "--json"))
    [step] = content["steps"]
    assert [site["path"] for site in step["sites"]] == SWAPS
    assert step["drift"] == step["drift_alone"] > 0.001
    assert (step["max_drift"], step["within_limits"]) == (None, None)
    assert step["changed_ops"] == {"silu": -3, "hardswish": 3}
    code, out, _ = run(*arguments)
    assert code == 0
    assert "  applied 0.2\n  applied 1.2\n" in out
    assert ", no limit\n" in out


def test_explain_shows_a_drift_above_its_limit_and_goes_on(run: Run, net: str, few: Callable[[str], Path]) -> None:
    recipe = few("rewrites: [{name: hard-swish, max_drift: 0.0001}, {name: fold-batch-norm}]")
    content = content_of(run("explain", net, "--recipe", recipe, "--json"))
    assert [step["within_limits"] for step in content["steps"]] == [False, None]
    assert content["steps"][1]["proof_error"] <= 1e-9
    code, out, _ = run("explain", net, "--recipe", recipe)
    assert code == 0
    assert "an export would stop here" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("explain", "ghostnet", "--rewrite", "hard-swich"),
            "There is no rewrite hard-swich.\nDid you mean hard-swish",
        ),
        (("explain", "ghostnet", "--rewrite", "dfc"), "There is no rewrite dfc.\nDid you mean dfc-dense?"),
        (("explain", "ghostnetv3"), "There is no model ghostnetv3."),
        (("rank", "ghostnet", "--rewrite", "noop-slice"), "noop-slice is exact: no site costs anything."),
        (("rank", "ghostnet", "--rewrite", "hard-swish", "--count", "4"), "hard-swish matches nothing in this model."),
        (("rank", "ghostnet"), "Missing option '--rewrite'"),
    ],
)
def test_what_cannot_be_shown_is_said(run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert says in err


# -- rank --------------------------------------------------------------------------------------------------------------


def test_rank_orders_sites_and_its_step_can_be_pasted(run: Run, net: str, few: Callable[[str], Path]) -> None:
    rank = ("rank", net, "--rewrite", "hard-swish", "--recipe", few("rewrites: []"))
    every = content_of(run(*rank, "--json"))
    sites = every["sites"]
    drifts = [site["drift"] for site in sites]
    assert sorted(site["path"] for site in sites) == SWAPS
    assert drifts == sorted(drifts)
    assert sites[0]["cumulative_drift"] == pytest.approx(sites[0]["drift"])
    assert (every["inputs"], every["step"]) == (6, None)

    limit = max(site["cumulative_drift"] for site in sites[:2]) * 1.001
    assert sites[2]["cumulative_drift"] > limit
    code, out, _ = run(*rank, "--max-drift", limit)
    assert code == 0
    step = out[out.index("rewrites:") :]
    [done] = content_of(run("explain", net, "--recipe", few(step), "--json"))["steps"]
    assert done["within_limits"] is True
    assert done["drift"] == pytest.approx(sites[1]["cumulative_drift"], rel=1e-9)
    assert {site["path"] for site in done["sites"] if site["applied"]} == {site["path"] for site in sites[:2]}


def test_rank_measures_on_pictures_that_are_given(
    run: Run, net: str, few: Callable[[str], Path], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        image = Image.fromarray(noise.integers(0, 255, (20, 20, 3), np.uint8))
        image.save(tmp_path / "photos" / f"{number}.png")
    rank = ("rank", net, "--rewrite", "hard-swish", "--recipe", few("rewrites: []"), "--json")
    own, two = (content_of(run(*rank, "--inputs", tmp_path / "photos", *more)) for more in ((), ("--count", "2")))
    built_in = content_of(run(*rank, "--count", "3"))
    assert (own["inputs"], two["inputs"], built_in["inputs"]) == (3, 2, 3)
    assert len({each["sites"][0]["drift"] for each in (own, two, built_in)}) == 3


def test_rank_follows_the_recipes_steps_and_looks_at_all_sites(run: Run, net: str, few: Callable[[str], Path]) -> None:
    swap = "{name: hard-swish, max_drift: 1, options: {sites: ['2.*']}}"
    recipe = few(f"rewrites: [{{name: fold-batch-norm}}, {swap}]")
    ranked = content_of(run("rank", net, "--recipe", recipe, "--rewrite", "hard-swish", "--count", "6", "--json"))
    alone = few("rewrites: [{name: hard-swish, max_drift: 1}]")
    [explained] = content_of(run("explain", net, "--recipe", alone, "--json"))["steps"]
    assert ranked["sites"][-1]["cumulative_drift"] == pytest.approx(explained["drift"], rel=1e-4)


def test_a_step_keeps_the_recipes_options() -> None:
    steps = "rewrites: [{name: upsample-mode, options: {to: bilinear, sites: ['a.*']}, max_drift: 0.5}]"
    loaded = parse_recipe(steps, "t", "t.yaml")
    step = step_for(loaded, "upsample-mode", ["a.b"], 0.1)
    assert step == {"name": "upsample-mode", "max_drift": 0.1, "options": {"to": "bilinear", "sites": ["a.b"]}}
    assert step_for(loaded, "hard-swish", ["c"], 0.1)["options"] == {"sites": ["c"]}
    with pytest.raises(UsageError, match="dfc-dense has no option `sites`"):
        step_for(loaded, "dfc-dense", [], 0.1)


def test_a_step_without_sites_says_so() -> None:
    step = {"name": "hard-swish", "max_drift": 0.001, "options": {"sites": []}}
    assert step_yaml(step) == "# No site of hard-swish keeps the drift within 0.001."
    step["options"] = {"sites": ["a.b", "c"]}
    assert yaml.safe_load(step_yaml(step)) == {"rewrites": [step]}


def test_figures_that_are_not_finite_are_shown_as_none() -> None:
    site = {"path": "a", "drift": None, "top1_agreement": 0.5, "cumulative_drift": 2.0, "cumulative_top1_agreement": 0}
    heading = {"model": "m", "recipe": "r", "weights": "w"}
    content = {**heading, "rewrite": "hard-swish", "inputs": 1, "sites": [site], "step": None}
    assert "a        -  50.0%         2.0000   0.0%" in shown(ranking(content))
    empty = {"macs": 0, "ops": 0}
    content = {**heading, "steps": [], "before": empty, "after": empty}
    assert "In all: MACs 0.00M, ops 0 -> 0." in shown(explanation(content))


def step(name: str, *applied: str, **more: Any) -> StepReport:
    return StepReport(name, Exactness.EXACT, applied, **{"refused": (), "notes": ("nothing",), **more})


def test_an_export_says_what_its_rewrites_did_equal_lines_once() -> None:
    proved = step("p", "x", "y", proof=Proof(1e-15, ()), notes=())
    drifted = replace(step("c", "x", "y", drift=0.25, notes=("a note",)), exactness=Exactness.APPROXIMATE)
    left = step("d", refused=tuple(Refusal(f"z.{i}", f"it has {i} readers") for i in range(49)), notes=())
    late = step("e", notes=("nothing", "it came too early"))
    steps = [step("a"), step("b"), proved, replace(proved, name="q"), drifted, left, late]
    assert step_lines(steps) == [
        "proved in float64: p (2 sites), q (2 sites)",
        "c (approximate): 2 sites; drift 0.25, no limit",
        "note on c: a note",
        "d skipped 49 sites: it has 0 readers (and such)",
        "note on e: nothing",
        "note on e: it came too early",
        "matching nothing in this model: a, b",
    ]
    assert step_lines(steps, in_full=True)[0] == "p (exact): 2 sites; float64 error 1.0e-15, limit 1e-09"
