"""Bilinear scaling without antialiasing is what torch computes, and what the software of apps makes of bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mobilekit.recipes.inputs.bilinear import Box, scale_bilinear
from tests.tflite_by_hand import make_bytes_through

Bytes = NDArray[np.uint8]
SIZES = [((64, 96), (17, 23)), ((40, 40), (20, 20)), ((9, 11), (17, 23)), ((1, 1), (8, 8)), ((300, 201), (64, 64))]
"""Height and width of a picture, and those that it gets."""


def noise(sides: tuple[int, int], channels: int = 3) -> Bytes:
    """The hardest picture: each pixel is another."""
    return np.random.default_rng(0).integers(0, 256, (*sides, channels), np.uint8)


def scaled(pixels: Bytes, sides: tuple[int, int], corners: bool = False, box: Box | None = None) -> Bytes:
    height, width = pixels.shape[:2]
    made = scale_bilinear(Image.fromarray(pixels), sides[::-1], box or (0, 0, width, height), corners)
    return np.asarray(made)


def off(made: Bytes, expected: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.abs(made.astype(np.float64) - expected.astype(np.float64))


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_torch_has_the_same_before_it_is_rounded(before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels = noise(before)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(tensor, after, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    assert off(scaled(pixels, after), expected.numpy()).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_from_corners_it_is_the_formula_of_tensorflow_1(before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels, expected = noise(before), np.empty((*after, 3))
    for row, column in np.ndindex(*after):
        y, x = row * before[0] / after[0], column * before[1] / after[1]
        near = [(min(int(y) + i, before[0] - 1), min(int(x) + j, before[1] - 1)) for i in (0, 1) for j in (0, 1)]
        shares = [(1 - y % 1) * (1 - x % 1), (1 - y % 1) * (x % 1), (y % 1) * (1 - x % 1), (y % 1) * (x % 1)]
        expected[row, column] = sum(share * pixels[place] for share, place in zip(shares, near, strict=True))
    assert off(scaled(pixels, after, corners=True), expected).max() <= 0.5 + 1e-9


def test_at_a_whole_factor_corners_take_every_nth_pixel_and_centers_mix_four() -> None:
    pixels = noise((32, 48))
    np.testing.assert_array_equal(scaled(pixels, (8, 12), corners=True), pixels[::4, ::4])
    four = pixels.astype(np.float64).reshape(8, 4, 12, 4, 3)[:, 1:3, :, 1:3].mean((1, 3))
    assert off(scaled(pixels, (8, 12)), four).max() <= 0.5


def test_a_part_is_what_a_crop_of_whole_pixels_gives() -> None:
    pixels = noise((40, 60))
    inside = scaled(pixels, (9, 7), box=(10, 4, 50, 36))
    np.testing.assert_array_equal(inside[1:-1, 1:-1], scaled(pixels[4:36, 10:50], (9, 7))[1:-1, 1:-1])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_of_the_same_size_stays(channels: int) -> None:
    pixels = noise((12, 20), channels).squeeze()
    for corners in (False, True):
        np.testing.assert_array_equal(scaled(pixels, (12, 20), corners), pixels)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_opencv_has_the_same_within_a_level(before: tuple[int, int], after: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = noise(before)
    assert off(scaled(pixels, after), cv2.resize(pixels, after[::-1])).max() <= 1


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_skia_which_android_draws_by_has_the_same_within_a_level(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    skia = pytest.importorskip("skia")
    pixels, made = noise(before, 4), np.empty((*after, 4), np.uint8)
    pixels[..., 3] = 255
    image = skia.Image.fromarray(pixels, colorType=skia.ColorType.kRGBA_8888_ColorType)
    target = skia.Pixmap(
        skia.ImageInfo.Make(*after[::-1], image.colorType(), skia.kPremul_AlphaType), made, made.strides[0]
    )
    assert image.scalePixels(target, skia.SamplingOptions(skia.FilterMode.kLinear))
    assert off(scaled(pixels, after), made).max() <= 1


@pytest.mark.parametrize(("before", "after"), [case for case in SIZES if case[0] != (1, 1)])
def test_mediapipe_stretches_the_whole_picture_from_corners(before: tuple[int, int], after: tuple[int, int]) -> None:
    """It reads at whole 32nds of a pixel, as OpenCV's remap does: at most 1/64 of 255 levels off on each axis."""
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    pixels, made = noise(before), np.empty(3 * after[0] * after[1])
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=make_bytes_through(after)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        shown = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
    for category in shown.classifications[0].categories:
        made[category.index] = category.score
    made = made.reshape(*after, 3)
    apart = off(scaled(pixels, after, corners=True), made)
    assert apart.max() <= 2 * 255 / 64 + 0.5
    assert apart.mean() < 1
    assert off(scaled(pixels, after), made).mean() > 5, "from centers it is another picture"
