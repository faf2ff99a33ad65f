"""Pictures that are not square, and channels of other numbers than three."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mobilekit.errors import UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.labeled import find_pictures
from mobilekit.recipes.inputs.preprocess import cut_by_shape, preprocess
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe


def plain(size: int | tuple[int, int], crop: float = 1.0, **more: object) -> Input:
    content = {"size": size, "crop": crop, "mean": [0, 0, 0], "std": [1, 1, 1], **more}
    return Input.model_validate(content)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, bands), np.uint8), mode)


def test_a_size_is_one_number_or_height_and_width() -> None:
    assert (plain((32, 16)).shape, plain(24).shape) == ((1, 3, 32, 16), (1, 3, 24, 24))
    assert plain((24, 24)).size == 24 and plain((32, 16)).size_words == "32x16"
    assert plain((32, 16)).model_dump(mode="json")["size"] == [32, 16]
    for wrong, told in (((32, 4), "greater than or equal to 8"), ((8, 8, 8), "at most 2"), ("big", "valid integer")):
        with pytest.raises(ValidationError, match=told):
            Input.model_validate({"size": wrong})


def test_a_picture_of_the_inputs_shape_is_taken_whole() -> None:
    image = noise(16, 32)
    np.testing.assert_array_equal(
        preprocess(image, plain((32, 16))), np.asarray(image).transpose(2, 0, 1) / np.float32(255)
    )


@pytest.mark.parametrize(
    ("spec", "box"),
    [
        (plain((16, 32)), (0, 24, 64, 56)),  # of 64x80, the whole width and 32 rows
        (plain((40, 16)), (16, 0, 48, 80)),  # the whole height and 32 columns
        (plain((16, 32), 0.5), (16, 32, 48, 48)),  # half of both sides of the first
        (plain(32, 0.5), (16, 24, 48, 56)),
    ],
)
def test_the_largest_part_of_the_inputs_shape_is_cut(spec: Input, box: tuple[int, int, int, int]) -> None:
    image = noise(64, 80)
    height, width = spec.sides
    expected = image.crop(box).resize((width, height), Image.Resampling.BICUBIC)
    given = preprocess(image, spec).transpose(1, 2, 0) * 255
    if (box[2] - box[0], box[3] - box[1]) == (width, height):
        np.testing.assert_allclose(given, np.asarray(expected), atol=1e-4)
    inside = (slice(4, -4), slice(4, -4))  # a cut picture has other neighbors at its border
    np.testing.assert_allclose(given[inside], np.asarray(expected, np.float32)[inside], atol=2)


def test_rgba_has_four_channels_and_gray_pictures_are_none() -> None:
    spec = plain(8, color="rgba", mean=[0.0] * 4, std=[1.0] * 4)
    image = noise(8, 8, "RGBA")
    np.testing.assert_array_equal(preprocess(image, spec), np.asarray(image).transpose(2, 0, 1) / np.float32(255))
    assert (preprocess(noise(8, 8), spec)[3] == 1).all()  # opaque
    with pytest.raises(UsageError, match="gray picture"):
        preprocess(Image.new("L", (8, 8)), spec)
    with pytest.raises(ValidationError, match="mean needs 4 values for color rgba"):
        Input(color="rgba")


def test_more_channels_are_arrays(tmp_path: Path) -> None:
    loaded = adjust(load_recipe("default"), (8, 16), picture={"channels": 6})
    recipe = loaded.recipe
    assert recipe.shapes == {"input": (1, 6, 8, 16)}
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    with pytest.raises(UsageError, match="arrays of 6 channels, which no picture is") as caught:
        read_calibration(recipe, None)
    assert "N x 6 x 8 x 16" in caught.value.hint
    values = np.random.default_rng(0).standard_normal((3, 6, 8, 16), dtype=np.float32)
    np.savez(tmp_path / "a.npz", input=values)
    np.testing.assert_array_equal(read_calibration(recipe, tmp_path / "a.npz").arrays["input"], values)


def test_pictures_that_the_crop_cuts_by_their_shape_are_told_of(tmp_path: Path) -> None:
    """48x64 digits on a square of 32: three quarters of each are left."""
    place = Path("digits")
    note = cut_by_shape([(48, 64)] * 3 + [(32, 32)], plain(32), place)
    assert note.startswith("3 of 4 pictures in digits have another shape than the input, 32x32, such as 64x48 ")
    assert "leaves 75 % of their area at most" in note and note.endswith(
        "give their shape: --input-size 64x48; on stretched ones: --resize stretch."
    )
    assert "--input-size" not in cut_by_shape([(20_000, 30)], plain(32), place), "no input is that long"
    assert cut_by_shape([(48, 64)], plain((64, 48)), place) == ""
    few = cut_by_shape([(48, 64), *[(32, 32)] * 3], plain(32), place)
    assert few.endswith("at most. If the model was trained on stretched ones: --resize stretch.")
    assert cut_by_shape([(33, 32)], plain(32), place) == ""
    noise(48, 64).save(tmp_path / "a.png")
    recipe = Recipe(input=plain(32))
    assert read_evaluation(recipe, tmp_path).notes == read_calibration(recipe, tmp_path).notes != ()
    assert read_evaluation(Recipe(input=plain((64, 48))), tmp_path).notes == ()


def test_labels_of_the_recipe_number_folders_and_tables(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        noise(8, 8).save(tmp_path / name / "0.png")
    assert find_pictures(tmp_path, ["dog", "emu", "cat"]).labels == [2, 0]
    with pytest.raises(UsageError, match="the model's list of labels has no class dog") as caught:
        find_pictures(tmp_path, ["dogs", "cat"])
    assert caught.value.hint == "Did you mean dogs?"
    (tmp_path / "test.csv").write_text("cat/0.png,cat\ndog/0.png,dog\n")
    assert find_pictures(tmp_path / "test.csv", ["dog", "emu", "cat"]).labels == [2, 0]
    (tmp_path / "classes.txt").write_text("cat\ndog\n")  # beside the pictures: nearer
    assert find_pictures(tmp_path, ["dog", "emu", "cat"]).labels == [0, 1]
    with pytest.raises(ValidationError, match="dog stands twice"):
        Recipe(labels=("dog", "cat", "dog"))
