"""Rows of apps: each is the file, given what the app makes of the pictures, against the reference's outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import UsageError
from mobilekit.parity.ledger.apps import check_apps, measure_apps
from mobilekit.parity.ledger.result import AppRow
from mobilekit.recipes.gates import AppGate
from mobilekit.recipes.inputs.apps import APPS
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.extra import with_extras
from mobilekit.recipes.inputs.preprocess import stack
from mobilekit.recipes.picture import Input, Resize
from mobilekit.recipes.schema import ExtraInput, Recipe

SPEC = Input(size=8, crop=1.0, mean=(0, 0, 0), std=(1, 1, 1), resize=Resize(filter="area"))
RECIPE = Recipe(input=SPEC)


class Means(Runtime):
    """Gives the mean of each channel, and counts its runs."""

    def __init__(self) -> None:
        self.runs: list[Arrays] = []

    def _run(self, inputs: Arrays) -> Arrays:
        self.runs.append(inputs)
        return {"means": inputs["input"].mean((2, 3))}


def pictures() -> list[tuple[str, Image.Image]]:
    """One of the model's size, which nothing scales, and one with fine stripes, red where red decides."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8, 1] = 255  # an eighth of the columns; those are what a pixel from the corner is taken of
    stripes[:, :, 0] = 60
    return [("even", Image.new("RGB", (8, 8), (200, 100, 50))), ("stripes", Image.fromarray(stripes))]


def evaluation(recipe: Recipe = RECIPE, labels: tuple[int, ...] | None = (0, 0)) -> Evaluation:
    inputs = with_extras(stack(pictures(), recipe.input), recipe)
    return Evaluation("two", inputs, None if labels is None else np.array(labels), pictures=pictures)


def rows_of(*names: str, recipe: Recipe = RECIPE, runtime: Means | None = None) -> Mapping[str, AppRow]:
    given = evaluation(recipe)
    truth = Means().run(given.inputs)
    return {
        row.app: row for row in measure_apps(names, recipe, given, runtime or Means(), truth, "model.float32.tflite")
    }


def test_figures_and_the_picture_that_suffers_most() -> None:
    row = rows_of("mediapipe")["mediapipe"]
    # Every eighth column is all that is read: green becomes 1 where it was 1/8, and beats red.
    assert (row.top1_agreement, row.top1, row.worst) == (0.5, 0.5, "stripes")
    truth, found = (np.array([60 / 255, green, 0]) for green in (32 / 255, 1.0))
    expected = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    assert row.worst_relative_l2 == pytest.approx(expected, rel=1e-4)
    assert row.max_abs == pytest.approx(1 - 32 / 255, rel=1e-4)
    assert (row.name, row.file, row.output, row.is_mistake) == ("app-mediapipe", "model.float32.tflite", "means", False)


def test_a_picture_of_the_models_size_stays() -> None:
    found = list(
        measure_apps(
            ["android", "mediapipe"],
            RECIPE,
            Evaluation("one", {"input": stack(pictures()[:1], SPEC)}, pictures=lambda: pictures()[:1]),
            Means(),
            Means().run({"input": stack(pictures()[:1], SPEC)}),
            "reference",
        )
    )
    assert [row.relative_l2 for row in found] == [0, 0]
    assert [row.top1 for row in found] == [None, None]


def test_ways_that_are_the_same_run_once_and_mistakes_that_cannot_be_made_not_at_all() -> None:
    runtime = Means()
    rows = rows_of(*APPS, runtime=runtime)
    assert set(APPS) - set(rows) == {"no-crop", "cropped", "unit", "stretched", "sideways"}, "the pictures are square"
    assert rows["android"] == rows["opencv"].__class__(**{**vars(rows["opencv"]), **_named("android")})
    assert len(runtime.runs) == len(rows) - 3, "android, browser, opencv and tf are one"


def _named(name: str) -> dict[str, str]:
    return {"app": name, "what": APPS[name].what}


def test_extra_inputs_that_are_pictures_are_the_apps_as_well() -> None:
    recipe = Recipe(input=SPEC, extra_inputs={"before": ExtraInput(like="input")})
    runtime = Means()
    rows_of("nearest", recipe=recipe, runtime=runtime)
    [given] = runtime.runs
    np.testing.assert_array_equal(given["before"], given["input"][::-1])
    assert not np.array_equal(given["input"], evaluation(recipe).inputs["input"])


def test_arrays_are_no_pictures() -> None:
    arrays = Evaluation("a.npz", {"input": np.zeros((1, 3, 8, 8), np.float32)})
    with pytest.raises(UsageError, match=r"--app starts at pictures, and a\.npz holds arrays"):
        list(measure_apps(["tf"], RECIPE, arrays, Means(), {}, "reference"))


def test_gates() -> None:
    rows = tuple(rows_of("mediapipe", "android").values())
    gates = {"mediapipe": AppGate(agreement=0.75), "android": AppGate(agreement=1), "tf": AppGate(agreement=0.5)}
    missed, held, unknown = check_apps(rows, gates, "model.float32.tflite")
    assert (missed.gate, missed.verdict, missed.value, missed.limit) == ("app-mediapipe", "fail", 0.5, 0.75)
    assert missed.why == "MediaPipe Tasks, given the whole picture; stripes suffers most"
    assert (held.verdict, held.value, held.why) == ("pass", 1.0, "")
    assert unknown.verdict == "inconclusive" and math.isnan(unknown.value)
