"""A reference that labels do not fit is doubted, and files are held to the top-1 that they may lose."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from mobilekit.cli.findings import findings_of
from mobilekit.cli.render.terminal import verdict_line
from mobilekit.errors import UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.parity.ledger.accuracy import check_accuracy, doubt_of, labels_in_words
from mobilekit.parity.ledger.result import FormatError, Ledger, MeasuredOn, Metrics, Row
from mobilekit.recipes.gates import AccuracyGate, Gates
from mobilekit.recipes.inputs.builtin import digits
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import Stage
from tests.conftest import Cli

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NOISE = FormatError(1e-6, 2e-7, 4.0, 4e-4, 8e-3, 2e-2, 2e-2)


def ledger(reference: float | None, **top1: float) -> Ledger:
    """A ledger of 60 inputs in which float32 and int8 files have this top-1."""
    rows = []
    for precision, share in top1.items():
        found = Metrics(0.0, 0.0, 0.0, 1.0, None, 1.0, None if reference is None else share)
        stage = Stage(f"tflite-{precision}")
        more = {"against": Stage.REFERENCE, "output": "logits", "verdict": "pass", "limits": (), "random": found}
        rows.append(Row(**vars(found), stage=stage, **more))  # type: ignore[arg-type]
    return Ledger(MeasuredOn("photos", 60), {"logits": NOISE}, tuple(rows), reference_top1=reference)


@pytest.mark.parametrize(
    ("top1", "count", "classes", "doubted"),
    [
        (0.09, 360, 10, True),  # folders whose names sort in another order
        (0.13, 360, 10, True),  # within two deviations of 1.6 %
        (0.14, 360, 10, False),
        (0.957, 60, 10, False),
        (0.0, 4, 1000, True),
        (0.25, 4, 1000, False),
        (1.0, 2, 2, False),  # all of them
        (None, 60, 10, False),
        (0.5, 60, 1, False),
    ],
)
def test_what_is_right_no_more_often_than_guessing_is_doubted(
    top1: float | None, count: int, classes: int, doubted: bool
) -> None:
    assert bool(doubt_of(top1, count, classes)) is doubted


def test_a_doubt_shows_the_order_of_the_labels_and_leaves_no_pass() -> None:
    text = doubt_of(0.09, 360, 10, tuple("abcdefghij"))
    assert text.startswith("it is right on 9 % of 360 inputs, and guessing among 10 classes on 10 %")
    assert "another order than the outputs (0 a, 1 b, 2 c, ..., 9 j)" in text
    assert labels_in_words(("cat", "dog")) == "0 cat, 1 dog"
    doubted = replace(ledger(0.09, float32=0.09), doubt=text)
    assert (ledger(0.9, float32=0.9).verdict, doubted.verdict) == ("pass", "inconclusive")
    [found] = findings_of(doubted)
    assert (found.rule, found.level, found.text) == ("labels", "warning", text) and "--labels FILE" in found.advice
    assert verdict_line(doubted, [found], "net") == "inconclusive: net: the reference itself is no better than guessing"


def test_a_file_is_held_to_the_top1_that_it_may_lose() -> None:
    """7 of 60 pictures, 12 points, are more than 1 %; a drop of just the limit holds."""
    measured = ledger(57 / 60, float32=57 / 60, int8=50 / 60)
    gate = AccuracyGate(max_top1_drop=0.01)
    floats, int8 = check_accuracy(measured, gate, ("float32", "int8"))
    assert (floats.verdict, floats.value, floats.artifact) == ("pass", 0, "model.float32.tflite")
    assert (int8.verdict, int8.why) == ("fail", "83.33 % for 95 %, on 60 inputs")
    assert int8.value == pytest.approx(7 / 60)
    [found] = findings_of(replace(measured, gates=(int8,)))
    assert found.text.startswith("the drop of top-1 is 11.67 % of the inputs, at most 1.00 %: 83.33 % for 95 %")
    assert found.level == "error"
    [alone] = check_accuracy(measured, AccuracyGate(max_top1_drop=7 / 60, precision=("int8",)), ("float32", "int8"))
    assert (alone.artifact, alone.verdict) == ("model.int8.tflite", "pass")
    assert list(check_accuracy(measured, AccuracyGate(max_top1_drop=0, precision=("float16",)), ())) == []


def test_without_labels_accuracy_is_not_judged() -> None:
    measured = ledger(None, int8=0.0)
    [gate] = check_accuracy(measured, AccuracyGate(max_top1_drop=0.01), ("int8",))
    assert gate.verdict == "inconclusive" and math.isnan(gate.value) and "--inputs DIR" in gate.why
    whole = replace(measured, gates=(gate,))
    assert whole.verdict == "inconclusive" and [each.level for each in findings_of(whole)] == ["warning"]
    assert Ledger.from_json(json.loads(json.dumps(whole.to_json(), allow_nan=False))).verdict == "inconclusive"
    line = verdict_line(whole, findings_of(whole), "net")
    assert line == "inconclusive: net: accuracy has no labels to judge it by"


def test_the_gate_stands_in_a_recipe_and_in_an_option(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "gates: {int8: {max_size_mb: 1}, accuracy: {max_top1_drop: .01, precision: [int8]}}"
    )
    recipe = load_recipe(str(tmp_path / "r.yaml")).recipe
    assert recipe.gates.accuracy == AccuracyGate(max_top1_drop=0.01, precision=("int8",))
    assert list(recipe.gates.files) == ["int8"]
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert Recipe().model_dump(mode="json")["gates"] == {}
    held = adjust(load_recipe(str(tmp_path / "r.yaml")), max_top1_drop=0.05).recipe.gates
    assert held == Gates(int8=recipe.gates.int8, accuracy=AccuracyGate(max_top1_drop=0.05, precision=("int8",)))
    assert adjust(load_recipe("default"), max_top1_drop=0.05).recipe.gates.accuracy == AccuracyGate(max_top1_drop=0.05)
    with pytest.raises(UsageError, match="not a share of 0 to 1"):
        adjust(load_recipe("default"), max_top1_drop=1.5)
    (tmp_path / "wrong.yaml").write_text("gates: {accuracy: {max_top1_dorp: .01}}")
    with pytest.raises(UsageError, match=r"unknown key max_top1_dorp\. Did you mean max_top1_drop"):
        load_recipe(str(tmp_path / "wrong.yaml"))


@pytest.mark.slow
def test_class_folders_in_another_order_are_doubted_in_words(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    images, labels = digits("test")
    for number, (image, label) in enumerate(zip(images[:60], labels[:60], strict=True)):
        folder = tmp_path / "digits" / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number}.png")
    words = ("diff", digits_bundle, "--inputs", tmp_path / "digits")
    sorted_by_name = cli(*words)
    assert sorted_by_name.returncode == 0  # nothing is outside a limit
    first, *rest = sorted_by_name.stdout.splitlines()
    assert first.startswith("inconclusive") and first.endswith("the reference itself is no better than guessing")
    assert any("Labels: 0 eight, 1 five, 2 four, ..., 9 zero." in line for line in rest)
    (tmp_path / "digits" / "classes.txt").write_text("\n".join(NAMES))
    right = json.loads(cli(*words, "--json").stdout)
    assert right["verdict"] == "pass" and right["doubt"] == "" and right["reference_top1"] > 0.9
    assert right["inputs"]["labels"][:2] == ["zero", "one"]
