"""Frames are scaled as by the resampling matrix, and within what Pillow's own rounding makes of them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilekit.models.frame import BYTES, FILTERS, Axis, Frame
from mobilekit.recipes.inputs.bilinear import scale_bilinear

FROM_PILLOW = {"bilinear": 1.001, "bicubic": 1.2, "lanczos": 1.4}
"""Levels of 255. Pillow rounds after its first pass, by .5 at most: the second makes of that .5 times the sum of its
weights without their signs (1; 1.25 and 1.6 where the filters are sampled most unluckily), and rounds once more. It
never came to all of it: .98, 1.06 and .98 on noise and hard edges. Its weights of 22 bits cost less than .001."""
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def frame_of(
    rows: tuple[int, int, Fraction, Fraction], columns: tuple[int, int, Fraction, Fraction], name: str = "bicubic"
) -> Frame:
    return Frame(Axis(*columns), Axis(*rows), name)


def weight(name: str, x: float) -> float:
    """Return what Pillow's filters are, one value at a time (libImaging/Resample.c, 13.0)."""
    x = abs(x)
    if name == "bilinear":
        return max(1 - x, 0.0)
    if name == "lanczos":
        return float(np.sinc(x) * np.sinc(x / 3)) if x < 3 else 0.0
    a = -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def matrix(axis: Axis, name: str) -> NDArray[np.float64]:
    """Return the resampling matrix (results, pixels) as Pillow makes it: row by row, each divided by its own sum."""
    rows = np.zeros((axis.size, axis.length))
    width = max(float(axis.step), 1.0)
    reach = SUPPORT[name] * width
    for row, number in zip(rows, range(axis.size), strict=True):
        center = float(axis.start + (number + Fraction(1, 2)) * axis.step)
        first, end = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), axis.length)
        row[first:end] = [weight(name, (x - center + 0.5) / width) for x in range(first, end)]
        row /= row.sum()
    return rows


def by_matrices(frame: Frame, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale (N, C, H, W) by two dense matrices, and cut after each as Pillow does."""
    wide = np.clip(pictures @ matrix(frame.columns, frame.filter).T, 0, 255)
    return np.clip(matrix(frame.rows, frame.filter) @ wide, 0, 255)


def scaled(frame: Frame, pictures: NDArray[Any]) -> NDArray[np.float64]:
    x = torch.from_numpy(pictures.astype(np.float64))
    made: NDArray[np.float64] = frame.scale(x, frame.constants(x.shape[1])).numpy() * (BYTES / frame.white)
    return made


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (2, 3, H, W): noise of all levels, and one of black and white, where filters overshoot most."""
    draw = np.random.default_rng(seed)
    all_levels = draw.integers(0, 256, (3, height, width), np.uint8)
    return np.stack([all_levels, draw.integers(0, 2, (3, height, width), np.uint8) * np.uint8(255)])


@st.composite
def axes(draw: st.DrawFn, phases: int) -> Axis:
    """Draw an axis whose part lies within the frame, at any fraction of a pixel."""
    size, start = draw(st.integers(5, 30)), Fraction(draw(st.integers(0, 12)), draw(st.integers(1, 8)))
    step = Fraction(draw(st.integers(phases, 4 * phases)), phases)
    length = int(np.ceil(start + size * step)) + draw(st.integers(0, 9))
    return Axis(length, size, start, step)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    phases = draw(st.integers(1, 8))
    return Frame(draw(axes(phases)), draw(axes(phases)), draw(st.sampled_from(sorted(FILTERS))))


@given(frames())
def test_a_frame_is_scaled_by_the_resampling_matrix(frame: Frame) -> None:
    pictures = noise(frame.rows.length, frame.columns.length).astype(np.float64)
    made = scaled(frame, pictures)
    assert made.shape == (2, 3, frame.rows.size, frame.columns.size)
    np.testing.assert_allclose(made / 255, by_matrices(frame, pictures) / 255, rtol=0, atol=1e-12)


@given(frames())
def test_a_frame_is_scaled_as_by_pillow(frame: Frame) -> None:
    assume(frame.filter == "bilinear" or frame.rows.length < 1.4 * frame.columns.length)  # Pillow 13 takes rows first
    pictures = noise(frame.rows.length, frame.columns.length, seed=1)
    made = scaled(frame, pictures)
    (left, across), (top, down) = ((float(a.start), float(a.size * a.step)) for a in (frame.columns, frame.rows))
    how = getattr(Image.Resampling, frame.filter.upper())
    for picture, found in zip(pictures, made, strict=True):
        image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
        box = (left, top, left + across, top + down)
        expected = np.asarray(image.resize((frame.columns.size, frame.rows.size), how, box), np.float64)
        assert np.abs(found.transpose(1, 2, 0) - expected).max() <= FROM_PILLOW[frame.filter]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("step", [Fraction(3), Fraction(15, 8)])
def test_without_antialiasing_it_is_scaled_as_apps_do(step: Fraction, corners: bool) -> None:
    axis = Axis(45, int(45 / step), Fraction(0), step)
    frame = Frame(axis, axis, "bilinear", antialias=False, corners=corners)
    picture = noise(45, 45)[0]
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    expected = np.asarray(scale_bilinear(image, (axis.size, axis.size), (0, 0, 45, 45), corners), np.float64)
    assert np.abs(scaled(frame, picture[None])[0].transpose(1, 2, 0) - expected).max() <= 0.5 + 1e-9


def test_a_step_of_one_pixel_is_a_crop() -> None:
    axis = Axis(40, 30, Fraction(5), Fraction(1))
    for name in FILTERS:
        frame = Frame(axis, axis, name)
        assert not frame.constants(3) and frame.multiplications == 0
        np.testing.assert_array_equal(scaled(frame, noise(40, 40)), noise(40, 40)[:, :, 5:35, 5:35])


@pytest.mark.parametrize(
    ("step", "size", "name", "each"),
    [
        (Fraction(2), 24, "bilinear", 4 * 48 * 24 + 4 * 24 * 24),  # 4 taps across all 48 rows, then 4 down
        (Fraction(2), 24, "bicubic", 8 * 48 * 24 + 8 * 24 * 24),
        (Fraction(12, 7), 28, "bilinear", 14 * 48 * 28 + 14 * 28 * 28),  # 7 results of the same 14 pixels
    ],
)
def test_what_it_costs(step: Fraction, size: int, name: str, each: int) -> None:
    axis = Axis(48, size, Fraction(0), step)
    frame = Frame(axis, axis, name)
    shapes = [tensor.shape for key, tensor in frame.constants(3).items() if key.endswith("weight")]
    phases = step.denominator
    assert [shape[0] for shape in shapes] == [3 * phases, 3 * phases**2]
    assert frame.multiplications == each


def test_the_border_is_divided_by_what_is_seen_and_nothing_else_is() -> None:
    whole, inner = Axis(48, 24, Fraction(0), Fraction(2)), Axis(48, 20, Fraction(4), Fraction(2))
    assert set(Frame(whole, inner, "bilinear").constants(1)) == {
        "frame_columns_weight", "frame_columns_gain", "frame_rows_weight"
    }  # fmt: skip
    gain = Frame(whole, inner, "bilinear").constants(1)["frame_columns_gain"].flatten()
    np.testing.assert_allclose(gain, [8 / 7, *[1] * 22, 8 / 7])


@given(frames())
def test_a_frame_of_a_picture_has_its_pixels_where_they_are_read(frame: Frame) -> None:
    picture = torch.arange(float(frame.rows.size * frame.columns.size)).reshape(1, 1, frame.rows.size, -1)
    enlarged = frame.enlarge(picture)
    assert enlarged.shape == (1, 1, frame.rows.length, frame.columns.length)
    rows, columns = (
        [math.ceil(a.start + n * a.step - Fraction(1, 2)) for n in range(a.size)] for a in (frame.rows, frame.columns)
    )
    assert torch.equal(enlarged[:, :, rows][..., columns], picture)


def test_it_is_made_again_by_its_own_words() -> None:
    import mobilekit.models.frame

    frame = Frame(Axis(15, 8, Fraction(1, 2), Fraction(15, 8)), Axis(9, 8, Fraction(0), Fraction(1)), "bicubic")
    assert eval(repr(frame), {"mobilekit": mobilekit}) == frame  # noqa: S307  (our own words)
