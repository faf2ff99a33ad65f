"""What tune tries, what it chooses of given figures, and the recipe that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mobilekit.bench.devices.base import DeviceFacts
from mobilekit.bench.engine import EngineFacts
from mobilekit.bench.result import BenchResult, BenchSettings, FileComparison, FileResult
from mobilekit.bench.statistics import Verdict, summarize
from mobilekit.errors import DeviceError, GateError, ToolError
from mobilekit.jobs.source import Source
from mobilekit.jobs.tune.forms import Group, groups_for
from mobilekit.jobs.tune.lab import check_ledger
from mobilekit.jobs.tune.meters import figures_of
from mobilekit.jobs.tune.recipe_text import recipe_text
from mobilekit.jobs.tune.result import Tuned, TuneRequest
from mobilekit.jobs.tune.search import BASE, COMBINED, Candidate, Figure, Outcome, search
from mobilekit.recipes.load import LoadedRecipe, load_recipe, parse_recipe
from mobilekit.rewrites.catalogue import find_rewrite, steps_of
from tests.cli.render.test_ledger import ledger as make_ledger

BASE_RECIPE = parse_recipe(
    "models: [shufflenet]\ninput: {size: 96}\nrewrites: [{name: fold-batch-norm}, {name: relu6-gate}]\n"
    "precision: [float32]\n",
    "mine",
    "mine.yaml",
)


def group_named(name: str, max_drift: float | None = None) -> Group:
    return next(group for group in groups_for(max_drift) if group.name == name)


def candidate(group: str, form: str) -> Candidate:
    found = group_named(group)
    return Candidate(found, next(each for each in found.forms if each.name == form))


SHUFFLE = "grouped convolutions and channel shuffle"
TRANSPOSED = candidate(SHUFFLE, "shuffle as transpositions")
DENSE = candidate(SHUFFLE, "dense")
NO_GATE = candidate("relu6-gate", "without relu6-gate")
PADDED = candidate("max-pool-padding", "max-pool-padding")


def names(loaded: LoadedRecipe) -> list[str]:
    return [step.name for step in loaded.recipe.rewrites]


def figure(ratio: float, spread: float = 0.01) -> Figure:
    low, high = ratio - spread, ratio + spread
    verdict: Verdict = "faster" if high < 1 else "slower" if low > 1 else "inconclusive"
    return Figure(ratio, low, high, verdict, 10 * ratio)


class FakeBench:
    """Gives each recipe the latency that its rewrites make; a bench's figures may be given outright."""

    def __init__(self, effects: dict[str, float], *given: dict[str, Figure]) -> None:
        self.effects = effects
        self.given = list(given)
        self.asked: list[dict[str, list[str]]] = []

    def ratio(self, loaded: LoadedRecipe, base: LoadedRecipe) -> float:
        ratio = 1.0
        for name in set(names(loaded)) ^ set(names(base)):
            ratio *= self.effects.get(name, 1.0)
        return ratio

    def __call__(self, base: LoadedRecipe, others: Mapping[str, LoadedRecipe]) -> dict[str, Figure]:
        self.asked.append({name: names(loaded) for name, loaded in others.items()})
        figures = {
            BASE: Figure(median_ms=10),
            **{name: figure(self.ratio(each, base)) for name, each in others.items()},
        }
        return {**figures, **(self.given.pop(0) if self.given else {})}


def test_the_best_of_each_group_are_combined_and_measured_again() -> None:
    bench = FakeBench({"channel-shuffle": 0.9, "dense-grouped": 0.8, "relu6-gate": 0.95, "max-pool-padding": 1.1})
    outcome = search(BASE_RECIPE, [TRANSPOSED, DENSE, NO_GATE, PADDED], bench)
    assert names(outcome.recipe) == ["fold-batch-norm", "dense-grouped"]
    assert [trial.form.name for trial in outcome.chosen] == ["dense", "without relu6-gate"]
    assert bench.asked[1] == {
        COMBINED: ["fold-batch-norm", "dense-grouped"],
        DENSE.name: ["fold-batch-norm", "relu6-gate", "dense-grouped"],
    }
    assert outcome.final[COMBINED].ratio == pytest.approx(0.8 * 0.95)
    assert [trial.chosen for trial in outcome.trials] == [False, True, True, False]


def test_what_is_not_faster_beyond_doubt_is_left() -> None:
    bench = FakeBench({"channel-shuffle": 0.995, "max-pool-padding": 1.2})
    outcome = search(BASE_RECIPE, [TRANSPOSED, PADDED], bench)
    assert outcome.recipe is BASE_RECIPE
    assert outcome.chosen == ()
    assert len(bench.asked) == 1
    assert [trial.figure.verdict for trial in outcome.trials] == ["inconclusive", "slower"]


@pytest.mark.parametrize("again", [figure(0.995), figure(1.1), Figure(why_not="the converter failed")])
def test_a_winner_that_does_not_win_again_is_left(again: Figure) -> None:
    outcome = search(BASE_RECIPE, [DENSE], FakeBench({"dense-grouped": 0.9}, {}, {COMBINED: again}))
    assert outcome.recipe is BASE_RECIPE
    assert outcome.chosen == ()
    assert outcome.final[COMBINED] == again


def test_winners_that_do_not_go_together_leave_the_best_alone() -> None:
    bench = FakeBench({"dense-grouped": 0.8, "relu6-gate": 0.9}, {}, {COMBINED: figure(0.85)})
    outcome = search(BASE_RECIPE, [NO_GATE, DENSE], bench)
    assert names(outcome.recipe) == ["fold-batch-norm", "relu6-gate", "dense-grouped"]
    assert [trial.form.name for trial in outcome.chosen] == ["dense"]


def test_a_form_that_cannot_be_made_is_passed_over() -> None:
    broken = {DENSE.name: Figure(why_not="the proof failed")}
    outcome = search(BASE_RECIPE, [DENSE, TRANSPOSED], FakeBench({"channel-shuffle": 0.9}, broken))
    assert [trial.form.name for trial in outcome.chosen] == ["shuffle as transpositions"]
    assert outcome.trials[0].figure.why_not == "the proof failed"


def test_without_candidates_nothing_is_measured() -> None:
    bench = FakeBench({})
    assert search(BASE_RECIPE, [], bench).recipe is BASE_RECIPE
    assert bench.asked == []


def test_only_rewrites_that_keep_the_function_are_tried_unless_asked() -> None:
    exact = {name for group in groups_for() for name in group.rewrites}
    assert all(find_rewrite(name).exactness.is_proved for name in exact)
    assert {"upsample-broadcast", "relu6-gate", "dfc-shared", "channel-shuffle", "dense-grouped"} <= exact
    assert exact.isdisjoint({"fold-batch-norm", "hard-swish", "pool-mode"})
    with_drift = {name for group in groups_for(0.1) for name in group.rewrites}
    assert {"hard-swish", "hard-sigmoid"} <= with_drift
    assert "pool-mode" not in with_drift  # it needs training
    [swapped] = group_named("hard-swish", 0.1).forms[1:]
    assert swapped.steps[0].max_drift == 0.1


def test_every_form_is_a_valid_recipe() -> None:
    for group in groups_for(0.1):
        for form in group.forms:
            made = group.applied_to(BASE_RECIPE, form)
            assert len(steps_of(made)) == len(made.recipe.rewrites)
            assert group.form_of(made) == form


def test_a_form_takes_the_place_of_the_groups_steps() -> None:
    text = "rewrites: [{name: dense-grouped}, {name: fold-batch-norm}, {name: channel-shuffle}]"
    loaded = parse_recipe(text, "mine", "mine.yaml")
    group = group_named(SHUFFLE)
    assert names(group.applied_to(loaded, TRANSPOSED.form)) == [
        "shuffle-into-weights",
        "shuffle-after-stride",
        "channel-shuffle",
        "fold-batch-norm",
    ]
    assert names(group.applied_to(loaded, group.forms[0])) == ["fold-batch-norm"]
    assert names(group.applied_to(BASE_RECIPE, DENSE.form)) == ["fold-batch-norm", "relu6-gate", "dense-grouped"]


PHONE = DeviceFacts("adb:1", "Phone", "arm64-v8a", None, "Android 14", None, (), None, False)


def test_a_bench_that_ended_early_decides_nothing() -> None:
    engine, settings = EngineFacts("benchmark_model", None, None), BenchSettings(rounds=12, seed=0)
    short = BenchResult(PHONE, engine, settings, (), (), (), (), partial="adb:1 was lost. Plug it in.")
    with pytest.raises(DeviceError, match="adb:1 was lost"):
        figures_of(short)


def tuned_of(outcome: Outcome) -> Tuned:
    """What a tune on a device that there is not would give."""
    settings = BenchSettings(rounds=12, seed=7)
    bench = BenchResult(PHONE, EngineFacts("benchmark_model", "2.1.0", None), settings, (), (), (), ())
    request = TuneRequest(Source("shufflenet", BASE_RECIPE), Path("tuned.yaml"))
    return Tuned(request, outcome, {}, (bench,) if outcome.trials else (), make_ledger())


def test_the_recipe_that_is_written_reads_back_as_the_one_chosen() -> None:
    bench = FakeBench({"channel-shuffle": 0.9, "relu6-gate": 0.95})
    outcome = search(BASE_RECIPE, [TRANSPOSED, NO_GATE, PADDED], bench)
    text = recipe_text(tuned_of(outcome))
    read = parse_recipe(text, "tuned", "tuned.yaml")
    assert read.recipe == outcome.recipe.recipe
    assert read.recipe.rewrites[-1].options == {"form": "transpose"}
    steps_of(read)
    assert "# Phone (arm64-v8a, Android 14), benchmark_model 2.1.0, 1 thread, float32;" in text
    assert "shuffle as transpositions: 0.900 (0.890 to 0.910), faster <- chosen" in text
    assert "max-pool-padding: 1.000 (0.990 to 1.010), inconclusive\n" in text
    assert "# Chosen: shuffle as transpositions, without relu6-gate; faster in both benches." in text


@pytest.mark.parametrize("name", ["ghostnetv2", "efficientvit", "ghostnetv2_digits", "default"])
def test_built_in_recipes_are_written_whole(name: str) -> None:
    loaded = load_recipe(name)
    outcome = search(loaded, [], FakeBench({}))
    assert parse_recipe(recipe_text(tuned_of(outcome)), name, "x.yaml").recipe == loaded.recipe


def test_figures_come_from_the_benchs_comparisons() -> None:
    def file_result(name: str, why_not: str | None = None) -> FileResult:
        raw = (4.0, 5.0, 6.0)
        latency, is_accepted = None if why_not else summarize(raw), why_not is None
        digest = "0" * 64
        return FileResult(
            name, name, digest, "float32", 1.0, 1, latency, "median", 3, raw, None, (), is_accepted, why_not
        )

    bench = BenchResult(
        PHONE,
        EngineFacts("benchmark_model", None, None),
        BenchSettings(rounds=12, seed=0),
        (file_result(BASE), file_result("b"), file_result("c", "it crashed")),
        (FileComparison("b", BASE, 0.5, 0.4, 0.6, 0.96, "faster", 3, 0, "the interval excludes 1"),),
        (),
        (),
    )
    figures = figures_of(bench)
    assert figures[BASE] == Figure(median_ms=5.0)
    assert figures["b"] == Figure(0.5, 0.4, 0.6, "faster", 5.0)
    assert figures["c"] == Figure(why_not="it crashed")
    with pytest.raises(ToolError, match="it crashed"):
        figures_of(replace(bench, results=(file_result(BASE, "it crashed"),), comparisons=()))


def test_a_ledger_that_fails_names_the_stage() -> None:
    with pytest.raises(
        GateError, match=r"Its onnx, tflite-int8 is outside its limit: relative_l2 is 0\.5, and the limit "
    ):
        check_ledger(make_ledger(onnx=0.5))
    with pytest.raises(GateError, match=r"Its model\.int8\.tflite is outside"):
        check_ledger(make_ledger(size=2.5))
    check_ledger(make_ledger())
