"""A tensor that an app dumped is told apart: by which scaling, and by which mistake, it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilekit.errors import UsageError
from mobilekit.jobs.likeness import RECIPE, SAME, find_likenesses, levels_of, read_tensor
from mobilekit.recipes.inputs.apps import APPS
from mobilekit.recipes.inputs.builtin import EVALUATION_PHOTOS, photo_views
from mobilekit.recipes.inputs.preprocess import Array, preprocess
from mobilekit.recipes.picture import Input

SPEC = Input(size=(24, 32), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
_NAME, PHOTO = photo_views(EVALUATION_PHOTOS, 1)[0]


def made_by(*names: str, spec: Input = SPEC) -> Array:
    """What an app gives that makes several changes at once, each by hand."""
    content = spec.model_dump()
    for name in names:
        changes = APPS[name].changes
        content |= {key: changes[key] for key in ("crop", "resize") if key in changes}
    array = preprocess(PHOTO, Input.model_validate(content))
    if "bgr" in names:
        mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (spec.mean, spec.std))
        array = ((array * std + mean)[::-1] - mean) / std
    return array


@pytest.mark.parametrize("name", [name for name in APPS if name not in ("cropped", "sideways")])
def test_each_way_is_found_again(name: str) -> None:
    own = APPS[name].input_of(SPEC)
    assert own
    first, second, *_rest = find_likenesses(PHOTO, SPEC, APPS[name].preprocess(PHOTO, own, "photo"), "photo")
    assert name in first.ways and first.max_levels < 1e-2
    assert second.mean_levels > SAME
    assert bool(first.what) == APPS[name].is_mistake


def test_a_scaling_and_a_mistake_at_once() -> None:
    first = find_likenesses(PHOTO, SPEC, made_by("opencv", "bgr"), "photo")[0]
    assert set(first.ways) == {"android+bgr", "browser+bgr", "opencv+bgr", "tf+bgr"}
    assert first.what == "red and blue exchanged" and first.mean_levels < 1e-2


def test_of_ways_that_come_to_the_same_the_plainest_is_meant() -> None:
    square = PHOTO.resize((96, 72))  # of the input's shape, and not turned
    first = find_likenesses(square, SPEC, preprocess(square, SPEC), "square")[0]
    assert (first.ways, first.what) == ((RECIPE,), "")
    swapped = APPS["bgr"].input_of(SPEC)
    assert swapped
    first = find_likenesses(square, SPEC, preprocess(square, swapped), "square")[0]
    assert first.ways == ("bgr",)


def test_what_is_right_is_said_so_and_what_is_unknown_is_near_nothing() -> None:
    assert RECIPE in find_likenesses(PHOTO, SPEC, preprocess(PHOTO, SPEC), "photo")[0].ways
    noise = np.random.default_rng(0).standard_normal(SPEC.shape[1:]).astype(np.float32)
    assert find_likenesses(PHOTO, SPEC, noise, "photo")[0].mean_levels > 10


def test_levels_are_those_of_the_picture() -> None:
    plain = Image.new("RGB", (40, 40), (10, 20, 30))
    for spec in (SPEC, SPEC.model_copy(update={"dtype": "uint8"})):
        expected = np.broadcast_to(np.array([10, 20, 30]).reshape(3, 1, 1), (3, 24, 32))
        np.testing.assert_allclose(levels_of(preprocess(plain, spec), spec), expected, atol=1e-4)
    shifted = preprocess(plain, SPEC) + np.float32(0.1)
    first = find_likenesses(plain, SPEC, shifted, "plain")[0]
    assert first.mean_levels == pytest.approx(0.1 * 255 * np.mean(SPEC.std), rel=1e-3)


def test_a_tensor_is_read_in_either_layout_and_as_bytes(tmp_path: Path) -> None:
    nchw = np.random.default_rng(0).random((3, 24, 32), np.float32)
    nhwc = np.ascontiguousarray(nchw.transpose(1, 2, 0))
    np.save(tmp_path / "nchw.npy", nchw[None])
    np.save(tmp_path / "nhwc.npy", nhwc[None])
    np.save(tmp_path / "flat.npy", nhwc.ravel())
    nhwc.astype("<f4").tofile(tmp_path / "float.raw")
    for name in ("nchw.npy", "nhwc.npy", "flat.npy", "float.raw"):
        np.testing.assert_array_equal(read_tensor(tmp_path / name, SPEC), nchw)
    levels = np.arange(3 * 24 * 32, dtype=np.uint8)
    levels.tofile(tmp_path / "bytes.raw")
    np.testing.assert_array_equal(read_tensor(tmp_path / "bytes.raw", SPEC).transpose(1, 2, 0).ravel(), levels)


BAD: dict[str, tuple[Any, str]] = {
    "other.npy": (
        np.zeros((1, 3, 24, 24), np.float32),
        "holds 1728 values of float32, and the model takes 24 x 32 x 3",
    ),
    "words.npy": (np.full(3 * 24 * 32, "x"), "it holds <U1, which are no numbers"),
    "nan.npy": (np.full(3 * 24 * 32, np.nan), "values that are not finite"),
    "huge.npy": (np.full(3 * 24 * 32, 1e300), "values that are not finite"),
    "empty.npy": (b"", "cannot be read: it is no .npy of numbers"),
    "archive.npy": (b"PK\x03\x04", "cannot be read: it is no .npy of numbers"),
    "head.npy": (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': ((, }".ljust(117) + b"\n",
        "cannot be read: it is no .npy of numbers",
    ),
    "large.npy": (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999, 9999999999), }".ljust(117)
        + b"\n",
        "cannot be read: it is no .npy of numbers",
    ),
    "cut.npy": (b"\x93NUMPY\x01\x00", "cannot be read"),
    "short.raw": (b"123", "holds 3 values of uint8"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_tensor_of_the_model(tmp_path: Path, name: str) -> None:
    content, says = BAD[name]
    (tmp_path / name).write_bytes(content) if isinstance(content, bytes) else np.save(tmp_path / name, content)
    with pytest.raises(UsageError, match=says):
        read_tensor(tmp_path / name, SPEC)
    with pytest.raises(UsageError, match="cannot be read"):
        read_tensor(tmp_path / "missing.raw", SPEC)
