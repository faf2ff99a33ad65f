"""What an app makes of a picture is the recipe's input with a few keys changed, or values in another order."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from mobilekit.errors import UsageError
from mobilekit.recipes.gates import App
from mobilekit.recipes.inputs.apps import APPS, find_apps
from mobilekit.recipes.inputs.preprocess import Array, preprocess
from mobilekit.recipes.picture import Input

SPEC = Input(size=(8, 12), crop=0.875, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))


def made(name: str, spec: Input = SPEC) -> Array | None:
    own = APPS[name].input_of(spec)
    return None if own is None else APPS[name].preprocess(PICTURE, own, "noise")


def right(**changes: Any) -> Array:
    return preprocess(PICTURE, Input.model_validate({**SPEC.model_dump(), **changes}))


def bytes_of(array: Array, spec: Input = SPEC) -> Array:
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    return np.round(255 * (array * std + mean))


def test_gates_may_name_the_software_and_no_mistake() -> None:
    assert set(get_args(App)) == {name for name, app in APPS.items() if not app.is_mistake}


@pytest.mark.parametrize("name", ["android", "browser", "opencv", "tf"])
def test_most_software_crops_as_the_recipe_and_scales_without_antialiasing(name: str) -> None:
    expected = right(resize={"filter": "bilinear", "antialias": False})
    np.testing.assert_array_equal(made(name), expected)
    assert np.abs(bytes_of(expected) - bytes_of(right())).max() > 20


def test_mediapipe_takes_the_whole_picture() -> None:
    made_by_hand = np.asarray(PICTURE)[np.arange(8) * 5].astype(np.float64)  # at a factor of 5, every fifth line
    across = np.arange(12) * 50 / 12
    before, share = across.astype(int), (across % 1)[None, :, None]
    expected = made_by_hand[:, before] * (1 - share) + made_by_hand[:, before + 1] * share
    found = made("mediapipe")
    assert found is not None
    assert np.abs(bytes_of(found).transpose(1, 2, 0) - expected).max() <= 0.5 + 1e-3


def test_mistakes_of_numbers_are_those_of_the_same_bytes() -> None:
    pixels = bytes_of(right())
    found = {name: made(name) for name in ("bytes", "unit", "half", "imagenet", "bgr")}
    mean, std = (np.array(values).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    np.testing.assert_allclose(found["bytes"], pixels, rtol=1e-5)
    np.testing.assert_allclose(found["unit"], pixels / 255, rtol=1e-5)
    np.testing.assert_allclose(found["half"], pixels / 127.5 - 1, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["imagenet"], (pixels / 255 - mean) / std, rtol=1e-4, atol=1e-5)
    assert found["bgr"] is not None
    np.testing.assert_array_equal(bytes_of(found["bgr"]), pixels[::-1])


def test_mistakes_of_the_shape() -> None:
    np.testing.assert_array_equal(made("no-crop"), right(crop=1.0))
    np.testing.assert_array_equal(made("stretched"), right(resize={"mode": "stretch"}))
    np.testing.assert_array_equal(made("nearest"), right(resize={"filter": "nearest"}))
    padded = Input.model_validate({**SPEC.model_dump(), "resize": {"mode": "pad"}})
    np.testing.assert_array_equal(made("cropped", padded), right())


def test_planes_are_the_values_channel_by_channel_where_the_file_reads_pixel_by_pixel() -> None:
    found = made("planes")
    assert found is not None
    np.testing.assert_array_equal(found.transpose(1, 2, 0).ravel(), right().ravel())


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({}, {"cropped"}),
        ({"crop": 1.0}, {"cropped", "no-crop"}),
        ({"resize": {"mode": "stretch"}}, {"stretched"}),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, {"cropped", "half"}),
        ({"dtype": "uint8"}, {"cropped", "bytes", "unit", "half", "imagenet"}),
        ({"color": "gray", "mean": (0.5,), "std": (0.25,)}, {"cropped", "bgr", "imagenet", "planes"}),
        ({"resize": {"filter": "nearest", "antialias": False}}, {"cropped", "nearest"}),
        ({"resize": {"filter": "bilinear", "antialias": False, "corners": True}}, {"cropped"}),
    ],
)
def test_mistakes_that_cannot_be_made_are_left_out(changes: dict[str, Any], absent: set[str]) -> None:
    spec = Input.model_validate({**SPEC.model_dump(), **changes})
    assert {name for name, app in APPS.items() if app.input_of(spec) is None} == absent


def test_a_recipe_that_does_as_an_app_does_has_its_input() -> None:
    """As docs/app.md says it."""
    bilinear = {"filter": "bilinear", "antialias": False}
    own = Input.model_validate({**SPEC.model_dump(), "resize": bilinear})
    np.testing.assert_array_equal(made("android", own), preprocess(PICTURE, own))
    corners = {**bilinear, "corners": True, "mode": "stretch"}
    own = Input.model_validate({**SPEC.model_dump(), "resize": corners, "crop": 1.0})
    np.testing.assert_array_equal(made("mediapipe", own), preprocess(PICTURE, own))


def test_lists_of_names() -> None:
    assert find_apps("all") == tuple(APPS)
    assert find_apps("tf, android,tf") == ("android", "tf")
    assert find_apps("mistakes,android")[:2] == ("android", "nearest")
    with pytest.raises(UsageError, match="There is no app andriod") as caught:
        find_apps("all,andriod")
    assert caught.value.hint == "Did you mean android?"
    with pytest.raises(UsageError, match="--app names nothing"):
        find_apps(" , ")


def test_of_a_frame_that_files_scale_all_software_makes_the_same() -> None:
    spec = Input.model_validate({**SPEC.model_dump(), "crop": 1, "frame": (40, 50)})
    for name in ("android", "browser", "mediapipe", "opencv", "tf"):
        np.testing.assert_array_equal(made(name, spec), np.asarray(PICTURE, np.float32).transpose(2, 0, 1))
    left = ("nearest", "stretched", "cropped", "no-crop", "bytes", "unit", "half", "imagenet")
    assert [made(name, spec) for name in left] == [None] * len(left), "mistakes that cannot be made any more"
    assert made("bgr", spec) is not None and made("planes", spec) is not None
