"""Forms compared by counts of instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.instructions.cores import core_named
from mobilekit.bench.instructions.result import CountResult
from mobilekit.cli.render.tune import tune_report
from mobilekit.errors import ToolError
from mobilekit.jobs.tune import meters
from mobilekit.jobs.tune.meters import CountMeter, counted_figures
from mobilekit.jobs.tune.recipe_text import recipe_text
from mobilekit.jobs.tune.search import BASE, COUNTED, Figure, search
from mobilekit.recipes.load import LoadedRecipe, parse_recipe
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.jobs.tune.test_search import BASE_RECIPE, NO_GATE, PADDED, names, tuned_of
from tests.snapshots import on_terminal

SIZES = {BASE: 600_000, "fewer": 594_000, "same": 597_000, "more": 606_000}
"""Beside 400,000 that all have."""


def artifact(name: str, sha256: str) -> Artifact:
    return Artifact(Path(name), name, "tune", "float32", sha256, None)


def test_forms_that_differ_by_more_than_the_tolerance_are_fewer_or_more() -> None:
    results = {name: make_file(make_model(size), name) for name, size in SIZES.items()}
    figures = counted_figures({**results, "refused": make_file(None, why_not="It differs.")})
    assert figures[BASE] == Figure(instructions=1_000_000)
    assert {name: figures[name].verdict for name in ("fewer", "same", "more")} == {
        name: name for name in ("fewer", "same", "more")
    }
    assert figures["fewer"].ratio == 0.994 and figures["fewer"].is_better
    assert figures["refused"] == Figure(why_not="It differs.")
    with pytest.raises(ToolError, match="The base recipe's file cannot be counted: It differs"):
        counted_figures({BASE: make_file(None, why_not="It differs.")})


def test_a_file_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def count(artifacts: Sequence[Artifact], _core: object, _progress: object) -> CountResult:
        counted.extend(each.sha256 for each in artifacts)
        files = [replace(make_file(make_model(SIZES[each.name]), each.name), sha256=each.sha256) for each in artifacts]
        return make_result(*files)

    monkeypatch.setattr(meters, "count_files", count)
    meter = CountMeter(core_named("a76"))
    first = meter.compare((artifact(BASE, "a"), artifact("fewer", "b")), lambda _: None)
    again = meter.compare((artifact(BASE, "a"), artifact("same", "c"), artifact("alone", "b")), lambda _: None)
    assert counted == ["a", "b", "c"]
    assert again["alone"] == first["fewer"] and again[BASE] == first[BASE]
    assert len(meter.counts) == 2


def test_the_recipe_and_the_report_say_instructions() -> None:
    def measure(base: LoadedRecipe, others: dict[str, LoadedRecipe]) -> dict[str, Figure]:
        figures = {
            name: Figure(0.9, verdict="fewer", instructions=900_000)
            if "relu6-gate" not in names(loaded)
            else Figure(1.0, verdict="same", instructions=1_000_000)
            for name, loaded in others.items()
        }
        return {BASE: Figure(instructions=1_000_000), **figures}

    outcome = search(BASE_RECIPE, [NO_GATE, PADDED], measure, COUNTED)
    assert [trial.form.name for trial in outcome.chosen] == ["without relu6-gate"]
    tuned = replace(tuned_of(outcome), benches=(), counts=(make_result(make_file(make_model())),))
    text = recipe_text(tuned)
    assert "# Instructions of one inference on Cortex-A76, LiteRT 2.3.0, qemu 7.2.22, float32.\n" in text
    assert "# The recipe mine has 1000000. Instructions as a multiple of that:\n" in text
    assert "relu6-gate: without relu6-gate: 0.9000, fewer <- chosen\n" in text
    assert "cheaper in both counts" in text and " ms" not in text
    assert parse_recipe(text, "tuned", "tuned.yaml").recipe == outcome.recipe.recipe
    shown = on_terminal(tune_report(tuned))
    assert "counted on Cortex-A76" in shown and "1.00M instructions" in shown and " ms" not in shown
    content = tuned.to_json()
    assert content["core"]["name"] == "a76" and content["device"] is None
    assert content["forms"][0]["instructions"] == 900_000
