"""The figures of docs/int8.md, on outputs that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.int8_accuracy.measure import CROPS, Pictures, crops, figures


def test_figures_of_outputs_that_are_off_in_one_photo() -> None:
    wanted = np.float32([[3, 1, 0], [1, 3, 0], [0, 1, 1.1], [0, 4, 3]])
    made = wanted.copy()
    made[2] = [0, 1.1, 1]  # another class, which led by .1
    pictures = Pictures(np.zeros((4, 1, 1, 3), np.uint8), np.array([0, 1, 2, 2]), np.array([0, 0, 1, 1]))
    error = np.hypot(0.1, 0.1) / np.hypot(1, 1.1) / 4
    cosine = 2.2 / (1 + 1.1**2)
    # Photos of 100 % and 50 %: their mean's error is the deviation, .354, through the root of 2.
    assert figures(made, wanted, pictures, 0.25) == [
        f"{error:.3f}",
        f"{cosine:.3f}",
        "75.0 ± 25.0",
        "100.0",
        "50.0",
        "25.00",
    ]


def test_crops_lie_within_their_photos_and_are_the_same_each_time(tmp_path: Path) -> None:
    for number, size in enumerate([(40, 60), (90, 50)]):
        Image.new("RGB", size, (200, 100, 50 * number)).save(tmp_path / f"photo_{number}_{number + 7}.png")
    first, again = crops(tmp_path, 16), crops(tmp_path, 16)
    assert first.images.shape == (2 * CROPS, 16, 16, 3)
    assert (first.images[:CROPS] == (200, 100, 0)).all() and (first.images[CROPS:] == (200, 100, 50)).all()
    assert first.labels.tolist() == [7] * CROPS + [8] * CROPS
    assert np.array_equal(first.images, again.images)
