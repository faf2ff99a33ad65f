"""The figures of docs/int8.md, on outputs that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.int8_accuracy import faces
from benchmarks.int8_accuracy.measure import CROPS, Pictures, crops, figures


def test_figures_of_outputs_that_are_off_in_one_photo() -> None:
    wanted = np.float32([[3, 1, 0], [1, 3, 0], [0, 1, 1.1], [0, 4, 3]])
    made = wanted.copy()
    made[2] = [0, 1.1, 1]  # another class, which led by .1
    pictures = Pictures(np.zeros((4, 1, 1, 3), np.uint8), np.array([0, 1, 2, 2]), np.array([0, 0, 1, 1]))
    error = np.hypot(0.1, 0.1) / np.hypot(1, 1.1) / 4
    cosine = 2.2 / (1 + 1.1**2)
    # Photos of 100 % and 50 %: their mean's error is the deviation, .354, through the root of 2.
    assert figures({"logits": made}, {"logits": wanted}, pictures, 0.25) == [
        f"{error:.3f}",
        f"{cosine:.3f}",
        "75.0 ± 25.0",
        "100.0",
        "50.0",
        "25.00",
    ]


def test_figures_of_faces_count_the_places_that_either_file_takes_for_one() -> None:
    scores = np.float32([[0.9, 0.61, 0.1], [0.7, 0.2, 0.3]])  # of places in two pictures
    found = np.float32([[0.9, 0.59, 0.1], [0.7, 0.65, 0.3]])
    wanted, made = ({"faces": np.stack([1 - each, each], 1), "boxes": np.ones((2, 4, 3))} for each in (scores, found))
    made["boxes"] = wanted["boxes"] * np.array([1.1, 1, 1, 1]).reshape(1, 4, 1)
    wanted["boxes"] = wanted["boxes"] * np.array([-1, 1, 1]).reshape(1, 1, 3)
    made["boxes"] = made["boxes"] * np.array([-1, 1, 1]).reshape(1, 1, 3)
    pictures = Pictures(np.zeros((2, 1, 1, 3), np.uint8), np.zeros(2, int), np.array([0, 1]))
    judge = faces.judge(0.6)
    assert judge.float32(wanted, pictures) == ["", "", "", "", "", "", "", "of 3"]
    # A tenth of one of four channels is off; either file takes two of each picture's places for faces, both take one.
    cells = dict(zip(judge.head, judge.figures(made, wanted, pictures, None), strict=True))
    assert cells["relative L2 of boxes"] == f"{0.1 / 2:.3f}"
    assert cells["worst cosine of boxes"] == f"{4.1 / 2 / np.sqrt(3 + 1.1**2):.3f}"
    signal, noise = scores.var(), np.square(found - scores).mean()
    assert cells["worst channel, dB"] == f"{10 * np.log10(signal / noise):.1f}"
    assert cells["same faces, %"] == "50.0 ± 0.0"
    # .61 leads .6 by .04 in logits, and does not count; .2 does, which became a face.
    assert cells["where clear by 0.2, %"] == f"{2 / 3 * 100:.1f}"
    assert cells["faces kept, %"] == f"{2 / 3 * 100:.1f}"


def test_the_error_of_a_share_is_clustered_by_photo() -> None:
    counted, of, photos = np.array([1, 1, 0, 0]), np.array([1, 1, 1, 1]), np.array([0, 0, 1, 1])
    share, error = faces.share_of(counted, of, photos)
    # Two photos of 100 % and 0 %: the deviation of their mean is .5, as if two pictures of one photo were one.
    assert (share, error) == (0.5, 0.5)


def test_crops_lie_within_their_photos_and_are_the_same_each_time(tmp_path: Path) -> None:
    for number, size in enumerate([(40, 60), (90, 50)]):
        Image.new("RGB", size, (200, 100, 50 * number)).save(tmp_path / f"photo_{number}_{number + 7}.png")
    first, again = crops(tmp_path, 16), crops(tmp_path, 16)
    assert first.images.shape == (2 * CROPS, 16, 16, 3)
    assert (first.images[:CROPS] == (200, 100, 0)).all() and (first.images[CROPS:] == (200, 100, 50)).all()
    assert first.labels.tolist() == [7] * CROPS + [8] * CROPS
    assert np.array_equal(first.images, again.images)
