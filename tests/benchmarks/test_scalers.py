"""The ways of scaling that docs/app.md's table has beside those of `diff --app`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.scalers import feeds, halved
from mobilekit.recipes.picture import Input, Resize

SPEC = Input(size=16, crop=0.5, mean=(0.4,) * 3, std=(1, 1, 1), resize=Resize(filter="bilinear"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    waves = np.round(127.5 + 100 * np.sin(np.arange(96)[:, None, None] / (5, 7, 9) + np.arange(100)[None, :, None] / 6))
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "waves.png")
    return tmp_path / "waves.png"


def test_halving_is_the_mean_of_four_pixels_from_the_size_times_a_power_of_two(picture: Path) -> None:
    square = Image.open(picture).crop((0, 0, 96, 96))
    square.save(picture)
    pixels = np.asarray(square, np.float64)  # a crop of half of 96, to 16: a factor of 3, and so drawn at 64
    places = 24 + (np.arange(64) + 0.5) * 0.75 - 0.5
    before, share = places.astype(int), places % 1
    rows = pixels[before] * (1 - share)[:, None, None] + pixels[before + 1] * share[:, None, None]
    drawn = rows[:, before] * (1 - share)[None, :, None] + rows[:, before + 1] * share[None, :, None]
    made = 255 * (halved(picture, SPEC).transpose(1, 2, 0) + 0.4)
    assert np.abs(made - drawn.reshape(16, 4, 16, 4, 3).mean((1, 3))).max() <= 1.51  # each step rounds


def test_each_way_is_in_the_table_once(picture: Path) -> None:
    spec = SPEC.model_copy(update={"crop": 0.7})  # at a whole odd factor the nearest pixel is in the center
    made = {name: feed(picture, spec).tobytes() for name, feed in feeds() if "TensorFlow" not in name}
    assert "`android`, `browser`, `opencv`, `tf`" in made and any(name.startswith("`planes`") for name in made)
    assert len(set(made.values())) == len(made)
