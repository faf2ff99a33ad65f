"""Pictures become tensors exactly as a recipe says, and what is no fitting picture is refused by name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilekit.errors import UsageError
from mobilekit.recipes.inputs import builtin
from mobilekit.recipes.inputs.builtin import (
    CALIBRATION_PHOTOS,
    EVALUATION_PHOTOS,
    calibration_inputs,
    digits,
    evaluation_inputs,
    photo_views,
    varied_views,
)
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.inputs.preprocess import Array, list_pictures, open_picture, preprocess, stack
from mobilekit.recipes.inputs.user_data import load_own
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Calibration, Recipe

RGB = Input(size=8, crop=1.0, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
GRAY = Input(size=8, crop=1.0, color="gray", mean=(0.5,), std=(0.25,))
PLAIN = Input(size=8, crop=1.0, mean=(0, 0, 0), std=(1, 1, 1))


def _expected(color: tuple[int, ...], spec: Input) -> NDArray[np.float64]:
    return (np.array(color) / 255 - np.array(spec.mean)) / np.array(spec.std)


def load_folder(folder: Path, spec: Input, count: int | None = None) -> Array:
    return load_own(folder, Recipe(input=spec), count).arrays["input"]


def test_a_plain_color_has_the_exact_values() -> None:
    array = preprocess(Image.new("RGB", (20, 13), (255, 51, 102)), RGB)
    assert (array.shape, array.dtype, array.flags["C_CONTIGUOUS"]) == ((3, 8, 8), np.float32, True)
    wanted = _expected((255, 51, 102), RGB)
    np.testing.assert_allclose(wanted, [1.8, 0.0, 0.8], atol=1e-12)
    np.testing.assert_allclose(array, np.broadcast_to(wanted[:, None, None], (3, 8, 8)), atol=1e-6)


def test_bgr_swaps_the_channels_and_not_mean_and_std() -> None:
    spec = RGB.model_copy(update={"color": "bgr"})
    array = preprocess(Image.new("RGB", (8, 8), (255, 51, 102)), spec)
    np.testing.assert_allclose(array[:, 0, 0], _expected((102, 51, 255), spec), atol=1e-6)


def test_gray_has_one_channel() -> None:
    array = preprocess(Image.new("L", (9, 30), 102), GRAY)
    assert array.shape == (1, 8, 8)
    np.testing.assert_allclose(array, np.full((1, 8, 8), (0.4 - 0.5) / 0.25), atol=1e-6)
    luma = preprocess(Image.new("RGB", (8, 8), (255, 0, 0)), GRAY)
    np.testing.assert_allclose(luma, np.full((1, 8, 8), (76 / 255 - 0.5) / 0.25), atol=1e-6)


@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
def test_the_center_is_cropped(turned: bool) -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[None, :, None], (8, 20, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp.transpose(1, 0, 2) if turned else ramp))
    array = preprocess(image, PLAIN) * 255
    wanted = np.broadcast_to(np.arange(6, 14)[None, None, :], (3, 8, 8))
    np.testing.assert_allclose(array.transpose(0, 2, 1) if turned else array, wanted, atol=1e-4)


def test_the_shorter_side_is_size_divided_by_crop_before_the_crop() -> None:
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None], (16, 16, 3))
    array = preprocess(Image.fromarray(np.ascontiguousarray(ramp)), PLAIN.model_copy(update={"crop": 0.5})) * 255
    np.testing.assert_allclose(array[0, 0], np.arange(4, 12), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 3), (1, 40)])
def test_tiny_pictures_are_enlarged(size: tuple[int, int]) -> None:
    array = preprocess(Image.new("RGB", size, (255, 51, 102)), RGB)
    np.testing.assert_allclose(array[:, 4, 4], _expected((255, 51, 102), RGB), atol=1e-6)
    assert array.shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "YCbCr"])
def test_color_in_other_modes_is_accepted(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode)
    np.testing.assert_allclose(preprocess(image, PLAIN)[:, 3, 3], [1, 0, 0], atol=0.01)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_gray_pictures_are_refused_for_color_with_their_name(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "shadow.png"
    Image.new(mode, (9, 9)).save(path)
    with pytest.raises(UsageError, match=rf"shadow.png is a gray picture \(mode {mode}\).*takes bgr color") as caught:
        load_folder(tmp_path, RGB.model_copy(update={"color": "bgr"}))
    assert str(path) in caught.value.what
    assert load_folder(tmp_path, GRAY).shape == (1, 1, 8, 8)


def test_sixteen_bits_of_gray_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.repeat(np.array([[0, 257 * 51, 257 * 102, 65535]], np.uint16), 2, axis=1).repeat(8, axis=0)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert open_picture(tmp_path / "deep.png").mode == "I;16"
    array = load_folder(tmp_path, Input(size=8, crop=1.0, color="gray", mean=(0,), std=(1,)))
    np.testing.assert_allclose(array[0, 0, 0], [0, 0, 0.2, 0.2, 0.4, 0.4, 1, 1], atol=1e-6)


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


BROKEN = {
    "cut.jpg": _encoded("jpeg")[:700],
    "cut.png": _encoded("png")[:2000],
    "header.png": _encoded("png")[:20],
    "noise.jpg": _encoded("jpeg")[:2] + b"\x00" * 300,
    "flipped.png": _encoded("png")[:100] + b"\xff\x00\xff\x00" + _encoded("png")[104:],
    "empty.png": b"",
    "text.png": b"not a picture at all\n",
    "text.webp": b"RIFF____WEBPxxxx",
    "phone.heic": b"\0\0\0\x18ftypheic",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_picture_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(_encoded("png"))
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(UsageError, match="is not a picture that can be read") as caught:
        load_folder(tmp_path, RGB)
    assert caught.value.what.startswith(str(tmp_path / name))


def test_a_folder_named_like_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match=r"a.png is not a picture"):
        load_folder(tmp_path, RGB)


def test_no_folder_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no folder .*missing"):
        list_pictures(tmp_path / "missing")
    with pytest.raises(UsageError, match="There is no picture in"):
        list_pictures(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="There is no picture in"):
        list_pictures(tmp_path)
    with pytest.raises(UsageError, match="There is no folder"):
        list_pictures(tmp_path / "notes.txt")


def test_a_folder_is_read_in_order_of_names_up_to_a_count(tmp_path: Path) -> None:
    for name, value in (("b.PNG", 102), ("a.bmp", 51), ("c.webp", 204), ("d.gif", 255), ("e.tiff", 0)):
        Image.new("RGB", (8, 8), (value, value, value)).save(tmp_path / name, name.split(".")[1].lower())
    (tmp_path / "readme.txt").write_text("not read")
    array = load_folder(tmp_path, PLAIN, count=2)
    np.testing.assert_allclose(array[:, 0, 0, 0], [0.2, 0.4], atol=1e-6)
    array = load_folder(tmp_path, PLAIN)
    assert array.shape == (5, 3, 8, 8)
    np.testing.assert_allclose(array[3:, 0, 0, 0], [1, 0], atol=1e-6)


def test_calibration_and_evaluation_share_no_photo() -> None:
    assert not set(CALIBRATION_PHOTOS) & set(EVALUATION_PHOTOS)
    recipe = Recipe(input=Input(size=16), calibration=Calibration(count=10))
    evaluation = evaluation_inputs(recipe)
    calibration, pictures = calibration_inputs(recipe)["input"], evaluation.inputs["input"]
    assert calibration.shape == (10, 3, 16, 16)
    assert pictures.shape == (8, 3, 16, 16)
    assert (evaluation.name, evaluation.labels) == ("photos", None)
    together = np.concatenate([calibration, pictures]).reshape(18, -1)
    assert len(np.unique(together, axis=0)) == 18, "every view is another picture"
    np.testing.assert_array_equal(calibration, calibration_inputs(recipe)["input"])
    np.testing.assert_array_equal(pictures, evaluation_inputs(recipe).inputs["input"])


@pytest.mark.parametrize("views", [photo_views(CALIBRATION_PHOTOS, 2), varied_views(CALIBRATION_PHOTOS, 14)])
def test_photos_take_turns(views: list[tuple[str, Image.Image]]) -> None:
    assert [name for name, _image in views] == [f"{name} view {i}" for i in (0, 1) for name in CALIBRATION_PHOTOS]


def test_any_number_of_views_can_be_had() -> None:
    views = photo_views(("sklearn/flower.jpg",), 400)
    assert len(views) == 400
    assert min(min(image.size) for _name, image in views) >= 100
    assert {image.mode for _name, image in views} == {"RGB"}


def test_varied_views_are_the_photo_and_then_crops_of_8_to_100_percent_in_other_light() -> None:
    photo, *views = (image for _name, image in varied_views(("sklearn/flower.jpg",), 300))
    assert photo.size == (640, 427)
    assert all(image.mode == "RGB" and image.width == image.height for image in views)
    shares = np.array([image.width**2 / (640 * 427) for image in views])
    largest = 427**2 / (640 * 427)
    assert 0.075 < shares.min() < 0.1
    assert shares.max() == pytest.approx(largest)
    # Areas of 8 to 100 %, of which those beyond the largest square become that.
    assert np.median(shares) == pytest.approx(0.54, abs=0.02)
    assert (shares > largest * 0.999).mean() == pytest.approx((1 - largest) / 0.92, abs=0.02)


def test_the_light_of_varied_views_changes_by_up_to_a_fifth() -> None:
    gray = Image.new("RGB", (100, 100), (100, 100, 100))
    levels = [
        np.asarray(builtin._vary(gray, np.array([0.5, 0.5, 0.5, place, 0.5, 0.5]))).mean() for place in (0, 0.5, 1)
    ]
    assert levels == pytest.approx([80, 100, 120], abs=1)
    halves = Image.fromarray(np.repeat(np.uint8([[50, 150]]), 50, axis=1).repeat(100, axis=0)).convert("RGB")
    contrasts = [np.asarray(builtin._vary(halves, np.array([1, 0, 0, 0.5, place, 0.5]))).std() for place in (0, 0.5, 1)]
    assert contrasts == pytest.approx([40, 50, 60], abs=1)


def test_digits_are_split_once_and_stratified() -> None:
    from sklearn.datasets import load_digits

    (train, train_labels), (test, test_labels) = digits("train"), digits("test")
    assert (len(train), len(train_labels), len(test), len(test_labels)) == (1437, 1437, 360, 360)
    every = [image.tobytes() for image in [*train, *test]]
    original = [np.round(image * (255 / 16)).astype(np.uint8).tobytes() for image in load_digits().images]
    assert sorted(every) == sorted(original), "each picture is in one split, once"
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    shares = np.bincount(test_labels, minlength=10) / np.bincount([*train_labels, *test_labels], minlength=10)
    np.testing.assert_allclose(shares, 0.2, atol=0.006)
    again, again_labels = digits("test")
    assert [image.tobytes() for image in again] == [image.tobytes() for image in test]
    np.testing.assert_array_equal(again_labels, test_labels)


def test_the_digits_recipe_takes_digits() -> None:
    recipe = load_recipe("ghostnetv2_digits").recipe
    calibration = calibration_inputs(recipe)["input"]
    assert calibration.shape == (100, 1, 32, 32)
    train, _labels = digits("train")
    np.testing.assert_array_equal(calibration, stack([("0", image) for image in train[:100]], recipe.input))
    evaluation = evaluation_inputs(recipe)
    pictures = evaluation.inputs["input"]
    assert pictures.shape == (evaluation.count, 1, 32, 32) == (360, 1, 32, 32)
    np.testing.assert_array_equal(evaluation.labels, digits("test")[1])
    assert pictures.min() >= -1.0
    assert pictures.max() <= 1.0


def test_random_inputs_come_from_their_seed() -> None:
    array = random_inputs(Recipe(input=RGB), count=64, seed=3)["input"]
    assert (array.shape, array.dtype) == ((64, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(array, random_inputs(Recipe(input=RGB), count=64, seed=3)["input"])
    assert not np.array_equal(array, random_inputs(Recipe(input=RGB), count=64, seed=4)["input"])
    assert abs(float(array.mean())) < 0.05
    assert abs(float(array.std()) - 1) < 0.05


GOOD = np.random.default_rng(0).random((3, 3, 8, 8), dtype=np.float32)


def test_an_npz_is_taken_as_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.array([4, 0, 9], np.uint8), input=GOOD)
    evaluation = read_evaluation(Recipe(input=RGB), tmp_path / "a.npz")
    np.testing.assert_array_equal(evaluation.inputs["input"], GOOD)
    np.testing.assert_array_equal(evaluation.labels, [4, 0, 9])
    assert evaluation.labels is not None
    assert (evaluation.name, evaluation.labels.dtype) == (str(tmp_path / "a.npz"), np.int64)
    np.savez_compressed(tmp_path / "b.npz", anything=GOOD.astype(np.float64))
    other = read_evaluation(Recipe(input=RGB), tmp_path / "b.npz")
    np.testing.assert_array_equal(other.inputs["input"], GOOD)
    assert (other.inputs["input"].dtype, other.labels) == (np.float32, None)


def test_a_folder_of_pictures_is_taken_as_well(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 51, 102)).save(tmp_path / "a.png")
    evaluation = read_evaluation(Recipe(input=RGB), tmp_path)
    np.testing.assert_array_equal(evaluation.inputs["input"], load_folder(tmp_path, RGB))


WRONG_ARRAYS = {
    "layout": ({"input": GOOD.transpose(0, 2, 3, 1)}, "holds an array of 3 x 8 x 8 x 3, and the model takes N x 3 x 8"),
    "channels": ({"input": GOOD[:, :1]}, "holds an array of 3 x 1 x 8 x 8"),
    "axes": ({"input": GOOD[0]}, "holds an array of 3 x 8 x 8, and"),
    "no images": ({"input": GOOD[:0]}, "holds an array of 0 x 3 x 8 x 8"),
    "no arrays": ({}, "holds nothing"),
    "not a number": ({"input": np.where(GOOD > 0.5, np.nan, GOOD)}, "values that are not finite"),
    "infinite": ({"input": np.where(GOOD > 0.5, np.inf, GOOD)}, "values that are not finite"),
    "beyond float32": ({"input": GOOD.astype(np.float64) * 1e300}, "values that are not finite"),
    "pickled objects": ({"input": np.full(GOOD.shape, None, object)}, "Object arrays cannot be loaded"),
    "words": ({"input": np.full(GOOD.shape, "x")}, "values of type <U1, not numbers"),
    "complex": ({"input": GOOD + 1j}, "values of type complex64, not numbers"),
    "too few labels": ({"input": GOOD, "labels": np.zeros(2, int)}, r"3 inputs and labels of shape \(2,\)"),
    "labels of two axes": ({"input": GOOD, "labels": np.zeros((3, 1), int)}, r"labels of shape \(3, 1\)"),
    "labels as words": ({"input": GOOD, "labels": np.array(["a", "b", "c"])}, "labels of type <U1, not class numbers"),
    "labels as fractions": ({"input": GOOD, "labels": np.array([0.5, 1, np.nan])}, "labels of type float64"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("arrays", "says"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS.keys())
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, NDArray[np.float32]], says: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=says) as caught:
        read_evaluation(Recipe(input=RGB), tmp_path / "a.npz")
    assert str(tmp_path / "a.npz") in caught.value.what


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, input=GOOD)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, GOOD)
    return buffer.getvalue()


def _zip(member: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(member, data)
    return buffer.getvalue()


def _head(shape: str) -> bytes:
    """The header of an .npy."""
    return (
        b"\x93NUMPY\x01\x00v\x00" + f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(118).encode()
    )


def _with_flag(place: int, central: int, value: int) -> bytes:
    """An .npz of which two bytes say something else: of its member, and of the directory at the end."""
    data = bytearray(_npz())
    data[place] = data[data.index(b"PK\x01\x02") + central] = value
    return bytes(data)


BROKEN_FILES = {
    "no array in it": _zip("input.txt", b"hello"),
    "no end of the shape": _zip("input.npy", _head("((, ")),
    "larger than the memory": _zip("input.npy", _head("(1000000, 9999999999)")),
    "encrypted": _with_flag(6, 8, 1),
    "compressed in an unknown way": _with_flag(8, 10, 99),
    "cut in half": _npz()[: len(_npz()) // 2],
    "cut at the end": _npz()[:-5],
    "a byte changed": _npz()[:300] + bytes([_npz()[300] ^ 255]) + _npz()[301:],
    "empty": b"",
    "text": b"hello",
    "a bare array": _npy(),
}


@pytest.mark.parametrize("data", BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_files_that_are_no_npz(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(UsageError, match=r"a.npz is not an .npz file that can be read"):
        read_evaluation(Recipe(input=RGB), tmp_path / "a.npz")
    with pytest.raises(UsageError, match="that can be read"):
        read_evaluation(Recipe(input=RGB), tmp_path / "missing.npz")
