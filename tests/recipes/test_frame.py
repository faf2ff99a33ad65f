"""Which part of a frame is scaled inside files, and which frames are not."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mobilekit.recipes.frame import MOST_PHASES, parts_of, refusal_of
from mobilekit.recipes.inputs.preprocess import kept_part
from mobilekit.recipes.picture import Input


@given(st.integers(8, 300), st.integers(8, 900), st.floats(0.3, 1))
def test_of_a_square_frame_the_part_is_the_one_that_is_cut_of_pictures(side: int, length: int, crop: float) -> None:
    spec = Input(size=side, crop=crop)
    for start, step in parts_of((length, length), spec.sides, spec.resized_side, "crop"):
        left, _top, right, _bottom = kept_part((length, length), spec)
        assert float(start) == pytest.approx(left, abs=1e-9 * length)
        if float(start + side * step) <= length:
            assert float(start + side * step) == pytest.approx(right, abs=1e-9 * length)


@given(st.tuples(st.integers(8, 900), st.integers(8, 900)), st.floats(0.3, 1))
def test_of_any_other_it_is_less_than_a_pixel_of_the_result_beside_it(frame: tuple[int, int], crop: float) -> None:
    spec = Input(size=56, crop=crop)
    (top, down), (left, across) = parts_of(frame, spec.sides, spec.resized_side, "crop")
    assert down == across, "one factor for both"
    cut = kept_part(frame[::-1], spec)
    made = [float(each) for each in (left, top, left + 56 * across, top + 56 * down)]
    assert np.abs(np.subtract(made, cut)).max() <= float(down)


def test_a_stretched_one_has_two_factors() -> None:
    assert parts_of((480, 640), (224, 224), 224, "stretch") == ((0, Fraction(15, 7)), (0, Fraction(20, 7)))
    assert parts_of((480, 640), (224, 112), 128, "stretch") == ((30, Fraction(15, 8)), (40, 5))


def named_in(refusal: str, frame: tuple[int, int], crop: float) -> list[tuple[tuple[int, int], float]]:
    """The ways out that a refusal names: each a frame and a crop."""
    frames = re.findall(r"(\d+)x(\d+) of its center", refusal)
    crops = re.findall(r"crop (0\.\d+|1)\b", refusal)
    return [((int(h), int(w)), crop) for h, w in frames] + [(frame, float(each)) for each in crops]


@given(st.tuples(st.integers(70, 700), st.integers(70, 700)), st.integers(32, 64), st.floats(0.5, 1))
def test_the_ways_out_that_are_named_scale(frame: tuple[int, int], side: int, crop: float) -> None:
    try:
        Input(size=side, crop=crop, frame=frame)
    except ValidationError as error:
        for tried, share in named_in(str(error), frame, crop) if "would do" in str(error) else ():
            spec = Input(size=side, crop=share, frame=tried)
            assert spec.frame_parts is not None and spec.frame_parts[0][1] > 1, "it is scaled, and not only cut"
            assert tried <= frame


CAMERAS = [(480, 640), (640, 480), (720, 1280), (1080, 1920), (480, 480), (640, 640)]


@pytest.mark.parametrize("frame", CAMERAS)
def test_a_camera_has_an_answer_for_each_common_input(frame: tuple[int, int]) -> None:
    """A file, or a crop near the one that was asked for, which is less than a hundredth of the picture off mostly."""
    for side, crop in itertools.product((192, 224, 240, 256), (0.875, 0.9, 0.95, 1.0)):
        refusal = refusal_of(frame, (side, side), round(side / crop), "crop")
        if refusal is not None:
            ((_frame, near),) = [way for way in named_in(refusal, frame, crop) if way[0] == frame]
            assert Input(size=side, crop=near, frame=frame).frame == frame
            assert abs(near - crop) < 0.05


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"frame": (200, 300)}, "the frame 200x300 is smaller than the crop, which needs 256x256 or more"),
        ({"size": (96, 128), "frame": (100, 200)}, "smaller than the crop, which needs 110x147 or more"),
        (
            {"frame": (481, 481)},
            "481x481 is scaled by 481/256, which takes 256 filters, and 16 are most; crop 0.8649, or 480x480 of",
        ),
        ({"frame": (480, 480), "resize": {"filter": "area"}}, "not by area"),
        ({"frame": (480, 480), "resize": {"antialias": False}}, "not by bicubic without antialiasing"),
        ({"frame": (480, 480), "resize": {"mode": "pad"}}, "and not padded"),
        ({"frame": (480, 480), "channels": 3, "dtype": "float32"}, "a frame is a picture, and not an array"),
    ],
)
def test_what_cannot_be_scaled_inside_is_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Input.model_validate(keys)
    assert says in str(caught.value)


def test_it_implies_bytes_unless_something_is_said() -> None:
    plain, spec = Input(), Input.model_validate({"frame": [480, 640]})
    assert (plain.dtype, plain.takes_levels, plain.shape) == ("float32", False, (1, 3, 224, 224))
    assert (spec.dtype, spec.shape, spec.network_shape) == ("uint8", (1, 3, 480, 640), (1, 3, 224, 224))
    assert "frame" not in plain.model_dump()
    numbers = Input.model_validate({"frame": [480, 640], "dtype": "float32"})
    assert (numbers.takes_bytes, numbers.takes_levels) == (False, True)
    for each in (spec, numbers):
        assert Input.model_validate(each.model_dump(mode="json")) == each
    assert MOST_PHASES == 16
