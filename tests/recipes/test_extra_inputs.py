"""Recipes of several inputs, and the arrays that they stand for: by name, and within their ranges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilekit.errors import UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.models.shapes import resized
from mobilekit.recipes.inputs.builtin import calibration_inputs, evaluation_inputs
from mobilekit.recipes.inputs.extra import random_inputs, with_extras
from mobilekit.recipes.inputs.user_data import load_own, own_files
from mobilekit.recipes.load import parse_recipe
from mobilekit.recipes.schema import Recipe
from tests.nets_of_several_inputs import MASKED, STEREO, arrays_of, recipe


def test_shapes_are_by_name_and_the_picture_is_first() -> None:
    shapes = recipe(MASKED).shapes
    assert list(shapes.items()) == [
        ("input", (1, 3, 32, 32)),
        ("mask", (1, 1, 32, 32)),
        ("features", (1, 6, 8, 8)),
        ("prior", (1, 4)),
    ]
    assert recipe(STEREO).shapes["another"] == (1, 3, 32, 32)


def test_a_recipe_of_one_picture_is_written_as_ever() -> None:
    assert "extra_inputs" not in recipe("input: {size: 32}").model_dump(mode="json")
    content = recipe(MASKED).model_dump(mode="json")
    assert list(content["extra_inputs"]) == ["mask", "features", "prior"]
    assert Recipe.model_validate(json.loads(json.dumps(content))) == recipe(MASKED)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("mask: {}", "mine.yaml:2: extra_inputs.mask: .*either a shape or `like: input`"),
        ("mask: {shape: [1, 3], like: input}", "either a shape or `like: input`"),
        ("mask: {shape: [2, 3]}", "its first is 1, the batch"),
        ("mask: {shape: [1]}", "needs two axes or more"),
        ("mask: {shape: [1, 0]}", "greater than or equal to 1, not 0"),
        ("mask: {shape: [1, 4], range: [1, 1]}", "from a lower to a higher value"),
        ("mask: {like: input, range: [0, 1]}", "belongs to a shape"),
        ("mask: {like: left}", "should be 'input', not 'left'"),
        ("mask: {shpe: [1, 4]}", "mine.yaml:2: unknown key shpe. Did you mean shape?"),
        ("input: {like: input}", "input is the name of the picture"),
        ("labels: {shape: [1, 4]}", "labels is the name of the class numbers"),
        ("_mask: {shape: [1, 4]}", "'_mask' cannot name an input"),
    ],
)
def test_a_wrong_extra_input_is_told_with_its_line(extra: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        recipe(f"extra_inputs:\n  {extra}\n")


def test_another_size_of_pictures_takes_those_inputs_along_that_have_it() -> None:
    shapes = adjust(parse_recipe(MASKED, "mine", "mine.yaml"), input_size=48).recipe.shapes
    assert shapes == {"input": (1, 3, 48, 48), "mask": (1, 1, 48, 48), "features": (1, 6, 8, 8), "prior": (1, 4)}
    odd = resized({"input": (1, 3, 4, 6), "a": (1, 4, 6), "b": (1, 6), "c": (1, 2, 9, 4, 6)}, (5, 3, 7, 9))
    assert odd == {"input": (5, 3, 7, 9), "a": (5, 7, 9), "b": (5, 6), "c": (5, 2, 9, 7, 9)}


def test_further_pictures_are_the_same_ones_in_another_order() -> None:
    pictures = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)
    both = recipe("extra_inputs: {right: {like: input}, top: {like: input}}")
    arrays = with_extras(pictures, both)
    assert {name: array.ravel().tolist() for name, array in arrays.items()} == {
        "input": [0, 1, 2, 3],
        "right": [1, 2, 3, 0],
        "top": [2, 3, 0, 1],
    }


def test_values_come_from_their_names_and_stay_within_what_was_calibrated() -> None:
    mine = recipe(MASKED + "calibration: {count: 5}\n")
    calibration, evaluation = calibration_inputs(mine), evaluation_inputs(mine).inputs
    assert {name: array.shape for name, array in calibration.items()} == {
        name: (5, *shape[1:]) for name, shape in mine.shapes.items()
    }
    assert {len(array) for array in evaluation.values()} == {8}
    assert {array.dtype for array in (*calibration.values(), *evaluation.values())} == {np.dtype(np.float32)}
    for name in ("mask", "features", "prior"):
        np.testing.assert_array_equal(evaluation[name][:5], calibration[name])
        np.testing.assert_array_equal(evaluation[name][5:], calibration[name][:3])
    assert 0 <= calibration["mask"].min() < 0.01 < 0.99 < calibration["mask"].max() <= 1
    assert abs(float(calibration["features"].std()) - 1) < 0.05
    assert not np.array_equal(calibration["features"][0, 0, 0], calibration["prior"][0])
    other = recipe("extra_inputs: {prior: {shape: [1, 4]}}\ncalibration: {count: 5}\n")
    np.testing.assert_array_equal(calibration_inputs(other)["prior"], calibration["prior"])


def test_random_inputs_respect_ranges() -> None:
    arrays = random_inputs(recipe(MASKED), count=7)
    assert {name: len(array) for name, array in arrays.items()} == {"input": 7, "mask": 7, "features": 7, "prior": 7}
    assert arrays["mask"].min() >= 0
    assert arrays["input"].min() < 0
    alone = random_inputs(recipe("input: {size: 32}"), count=7)["input"]
    np.testing.assert_array_equal(arrays["input"], alone)


def test_an_npz_is_read_by_names(tmp_path: Path) -> None:
    arrays = arrays_of(MASKED)
    np.savez(tmp_path / "a.npz", labels=np.arange(3), unused=np.zeros(4), **dict(reversed(arrays.items())))
    read = load_own(tmp_path / "a.npz", recipe(MASKED))
    assert list(read.arrays) == ["input", "mask", "features", "prior"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    np.testing.assert_array_equal(read.labels, [0, 1, 2])
    few = load_own(tmp_path / "a.npz", recipe(MASKED), count=2)
    assert {len(array) for array in few.arrays.values()} == {2}
    np.testing.assert_array_equal(few.labels, [0, 1])
    assert own_files(tmp_path / "a.npz") == [tmp_path / "a.npz"]
    with pytest.raises(UsageError, match=r"There is no file .*b.npz"):
        own_files(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"mask": None},
            "holds nothing by the name mask, and the model takes N x 1 x 32 x 32(.|\n)*in NCHW.*has input, f",
        ),
        ({"input": None}, "holds nothing by the name input"),
        (
            {"prior": np.zeros((3, 8))},
            "an array of 3 x 8 by the name prior, and the model takes N x 4(.|\n)*`prior`[.]",
        ),
        ({"mask": np.zeros((3, 32, 32, 1))}, "an array of 3 x 32 x 32 x 1 by the name mask"),
        ({"mask": np.zeros((2, 1, 32, 32))}, "different numbers of inputs: 3 of input, 2 of mask, 3 of features"),
        ({"prior": np.full((3, 4), np.nan)}, "not finite"),
        ({"prior": np.full((3, 4), "x")}, "not numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    arrays = {name: array for name, array in (arrays_of(MASKED) | change).items() if array is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=says):
        load_own(tmp_path / "a.npz", recipe(MASKED))


def test_a_folder_of_pictures_gives_the_pictures(tmp_path: Path) -> None:
    for value in (0, 100, 200):
        Image.new("RGB", (40, 40), (value, value, value)).save(tmp_path / f"{value}.png")
    own = load_own(tmp_path, recipe(STEREO))
    assert own.labels is None
    np.testing.assert_array_equal(own.arrays["another"], own.arrays["input"][[1, 2, 0]])
    assert not np.array_equal(own.arrays["another"], own.arrays["input"])
