"""How a picture gets the input's size: as timm, torchvision and torch do it with the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from mobilekit.errors import UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.models.timm_models import _MODES
from mobilekit.recipes.inputs.preprocess import cut_by_shape, preprocess
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.picture import Input, Resize

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def picture(width: int, height: int) -> Image.Image:
    """Return a smooth picture, in which a shift or another shape shows."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = np.stack([np.sin(9 * x + 2 * y), np.cos(7 * y), np.sin(5 * x * y)], 2)
    return Image.fromarray(np.round(127.5 + 127.5 * waves).astype(np.uint8))


def values(image: Image.Image, **changes: Any) -> NDArray[np.float32]:
    return preprocess(image, Input.model_validate({**PLAIN, **changes}))


@pytest.mark.parametrize("theirs", _MODES)
@pytest.mark.parametrize("size", [(300, 200), (160, 240)])
@pytest.mark.parametrize(("filter_", "limit"), [("bilinear", 0.006), ("bicubic", 0.006), ("nearest", 0.02)])
def test_timm_has_the_same_picture(theirs: str, size: tuple[int, int], filter_: str, limit: float) -> None:
    data = pytest.importorskip("timm.data")
    how = {"input_size": (3, 64, 64), "crop_pct": 0.8, "crop_mode": theirs, "interpolation": filter_}
    expected = data.create_transform(**how, mean=(0.5,) * 3, std=(1.0,) * 3)(picture(*size)).numpy() + 0.5
    resize = {"mode": _MODES[theirs], "filter": filter_}
    made = values(picture(*size), size=64, crop=0.8, resize=resize, mean=(0.5,) * 3) + 0.5
    inside = (slice(None), slice(14, 50), slice(14, 50)) if theirs == "border" else ...  # the edge may be a pixel off
    assert np.abs(made - expected)[inside].mean() < limit


SHAPES = [(640, 427), (427, 640), (1000, 872), (31, 500), (64, 64), (7, 5)]


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.7])
def test_torchvision_keeps_the_same_part(size: tuple[int, int], crop: float) -> None:
    """To two levels on noise: Pillow rounds after each of its two passes, and a half may go either way."""
    transforms = pytest.importorskip("torchvision.transforms")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    spec = Input.model_validate({**PLAIN, "size": 56, "crop": crop, "resize": {"filter": "bilinear"}})
    scale = transforms.Resize(spec.resized_side, transforms.InterpolationMode.BILINEAR)
    expected = np.asarray(transforms.CenterCrop(56)(scale(noise)), np.float64).transpose(2, 0, 1)
    apart = np.abs(255 * preprocess(noise, spec) - expected)
    assert apart.max() <= 2 + 1e-3 and apart.mean() < 0.5  # beside it by half a pixel it is more than 10


def test_a_stretched_picture_is_whole_and_a_padded_one_is_too() -> None:
    halves = Image.fromarray(np.repeat(np.uint8([[50, 150]]), 100, axis=1).repeat(50, axis=0)).convert("RGB")
    stretched = values(halves, size=32, crop=1, resize={"mode": "stretch"})
    assert (stretched[:, :, 3] * 255).round().tolist() == np.full((3, 32), 50).tolist()
    assert (stretched[:, :, -3] * 255).round().tolist() == np.full((3, 32), 150).tolist()
    padded = values(halves, size=32, crop=1, resize={"mode": "pad"}, mean=(0.5,) * 3)
    assert np.abs(padded[:, [0, 11, 20, 31]]).max() < 0.003, "above and below it is as gray as the mean"
    assert ((padded[:, 16, [3, -3]] + 0.5) * 255).round().tolist() == [[50, 150]] * 3


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_without_antialiasing_the_next_pixels_count_alone(mode: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    tensor = torch.from_numpy(np.asarray(noise, np.float32)).permute(2, 0, 1)[None] / 255
    sides = (16, 24)
    expected = torch.nn.functional.interpolate(tensor, sides, mode=mode, align_corners=False)[0].clamp(0, 1).numpy()
    plain, smooth = (
        values(noise, size=sides, crop=1, resize={"filter": mode, "antialias": antialias})
        for antialias in (False, True)
    )
    limit = 0.05 if mode == "bicubic" else 0.004  # Pillow's cubic is a = -0.5, torch's -0.75
    assert np.abs(plain - expected).mean() < limit
    assert smooth.std() < 0.5 * plain.std(), "noise that is made small by antialiasing is gray"


def test_area_is_the_mean_of_what_lies_under_a_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    made = values(Image.fromarray(noise), size=8, crop=1, resize={"filter": "area"})
    expected = noise.reshape(8, 4, 8, 4, 3).mean((1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(made, expected, atol=1.01 / 255)  # it rounds twice


def test_what_is_as_it_was_is_not_written() -> None:
    assert "resize" not in Input().model_dump(mode="json")
    assert Input(resize=Resize(mode="stretch")).model_dump(mode="json")["resize"]["mode"] == "stretch"
    with pytest.raises(ValidationError, match="the filter area has no form without antialiasing"):
        Resize(filter="area", antialias=False)


def test_nothing_is_cut_that_is_stretched() -> None:
    assert "--resize stretch" in cut_by_shape([(100, 50)], Input(), Path("photos"))
    assert cut_by_shape([(100, 50)], Input(resize=Resize(mode="stretch")), Path("photos")) == ""


def test_words_of_the_option() -> None:
    found = adjust(load_recipe("default"), picture={"resize": ["stretch", "bilinear"]}).recipe.input.resize
    assert found == Resize(mode="stretch", filter="bilinear")
    again = adjust(load_recipe("default"), picture={"resize": ["pad"]}).recipe.input.resize
    assert again == Resize(mode="pad", filter="bicubic")
    plain = adjust(load_recipe("default"), picture={"resize": ["bilinear", "plain"]}).recipe.input.resize
    assert plain == Resize(filter="bilinear", antialias=False)
    with pytest.raises(UsageError, match="--resize: the filter lanczos has no form without antialiasing"):
        adjust(load_recipe("default"), picture={"resize": ["lanczos", "plain"]})
    with pytest.raises(UsageError, match="--resize: Input should be 'bilinear', 'bicubic'"):
        adjust(load_recipe("default"), picture={"resize": ["squash"]})


@pytest.mark.parametrize(("width", "height"), [(60, 48), (100, 70), (61, 48)])
def test_a_picture_is_cropped_to_the_frame_and_not_scaled(width: int, height: int) -> None:
    image = picture(width, height)
    left, top = (width - 60) // 2, (height - 48) // 2
    expected = np.asarray(image)[top : top + 48, left : left + 60].transpose(2, 0, 1)
    np.testing.assert_array_equal(values(image, size=24, frame=(48, 60)), expected)


@pytest.mark.parametrize(("width", "height"), [(30, 48), (100, 20), (10, 4), (1, 3000), (59, 13), (7, 41)])
def test_a_picture_smaller_than_the_frame_is_enlarged_until_it_fills_it(width: int, height: int) -> None:
    image, times = picture(width, height), max(60 / width, 48 / height)
    made = values(image, size=24, frame=(48, 60), resize={"filter": "bilinear"})
    assert made.shape == (3, 48, 60)
    part = [(side - of / times) / 2 for side, of in ((width, 60), (height, 48))]
    box = (*part, width - part[0], height - part[1])
    expected = np.asarray(image.resize((60, 48), Image.Resampling.BILINEAR, box), np.float32).transpose(2, 0, 1)
    np.testing.assert_allclose(made, expected, atol=1)


def test_pictures_of_another_size_than_the_frame_are_named() -> None:
    spec = Input.model_validate({"frame": (480, 640)})
    assert not cut_by_shape([(640, 480)], spec, Path("photos"))
    told = cut_by_shape([(640, 480), (640, 427), (800, 600)], spec, Path("photos"))
    assert told.startswith("2 of 3 pictures in photos are not of the frame's size, 480x640")
