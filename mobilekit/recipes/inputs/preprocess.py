"""From a picture to the model's input."""

from __future__ import annotations

import hashlib
import math
import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mobilekit.errors import UsageError
from mobilekit.recipes.inputs.bilinear import Box, scale_bilinear
from mobilekit.recipes.picture import LARGEST_SIDE, LEAST_SIDE, Input

SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Of pictures; one that the installed Pillow cannot read is refused by name, and never passed over."""
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}
_MODES = {"gray": "L", "rgba": "RGBA"}
_CUT = 0.05
"""Share of a picture's area that another shape may cost without a word."""
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
"""Gray in 16 bits, of which 65535 is white."""
_WITHOUT_WHITE = ("I", "F")
"""Numbers of 32 bits: nothing says which is white, and Pillow would cut them at 255."""
_GRAY_MODES = ("1", "L", "LA", *_DEEP_MODES, *_WITHOUT_WHITE)

Array = NDArray[np.float32]
Arrays = dict[str, Array]


def preprocess(image: Image.Image, spec: Input, name: str = "the picture") -> Array:
    """Turn a picture, cut its center, resize that, scale to 0..1, order channels, and normalize; or leave it in bytes.

    What is cut has the input's shape, and `crop` of the height and width of the largest such part: for a square this is
    the usual resize of the shorter side and crop of the center. With `resize: {mode: stretch}` it has the picture's
    shape; with `pad` it has the input's shape and all of the picture in it.

    Args:
        image: A picture of any size.
        spec: The recipe's `input`.
        name: For error messages.

    Returns:
        float32 of shape (channels, height, width); whole numbers of 0 to 255 where the model takes bytes.

    Raises:
        UsageError: The picture is gray and the model takes color, or in numbers of which none is known to be white; or
            the model takes no pictures.
    """
    if spec.channels is not None:
        height, width = spec.sides
        raise UsageError(
            f"The model takes arrays of {spec.channels} channels, which no picture is.",
            f"Give --calibration F.npz and --inputs F.npz, with `input` of N x {spec.channels} x {height} x {width}.",
        )
    if spec.color != "gray" and image.mode in _GRAY_MODES:
        raise UsageError(
            f"{name} is a gray picture (mode {image.mode}), and the model takes {spec.color} color.",
            "Leave it out, or convert it to color if the model will see gray pictures in use.",
        )
    if image.mode in _WITHOUT_WHITE:
        raise UsageError(
            f"{name} holds numbers of 32 bits (mode {image.mode}), and nothing says which of them is white.",
            "Save it in 8 or 16 bits.",
        )
    image = upright(image, spec)
    if image.mode in _DEEP_MODES:  # Pillow would cut it at 255
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    image = image.convert(_MODES.get(spec.color, "RGB"))
    made = _framed(image, spec) if spec.frame else _resized(image, spec)
    pixels = np.asarray(made, np.float32).reshape(*spec.shape[2:], spec.channel_count)
    if spec.color == "bgr":
        pixels = pixels[..., ::-1]
    if spec.takes_levels:
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    normal = (pixels / 255 - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


def upright(image: Image.Image, spec: Input) -> Image.Image:
    """Return a picture as viewers show it, where the recipe turns pictures by the orientation in their EXIF data."""
    if spec.exif == "ignore":
        return image
    try:
        with warnings.catch_warnings(action="ignore"):
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):  # what damaged EXIF data raises
        return image


def _framed(image: Image.Image, spec: Input) -> Image.Image:
    """Return the center of a picture in the frame's size: cropped, and not scaled but where it is smaller than that."""
    assert spec.frame
    height, width = spec.frame
    times = max(height / image.height, width / image.width)
    if times > 1:
        across, down = min(width / times, image.width), min(height / times, image.height)
        left, top = (image.width - across) / 2, (image.height - down) / 2
        box = (left, top, min(left + across, image.width), min(top + down, image.height))
        return image.resize((width, height), _FILTERS[spec.resize.filter], box)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _resized(image: Image.Image, spec: Input) -> Image.Image:
    """Return the part of a picture that is kept, in the input's size."""
    height, width = spec.sides
    left, top, right, bottom = box = kept_part(image.size, spec)
    if spec.resize.mode != "pad":
        # Only the part that is kept is resized: a very long picture would take gigabytes.
        return _scaled(image, (width, height), box, spec)
    inside = (max(left, 0.0), max(top, 0.0), min(right, image.width), min(bottom, image.height))
    across, down = width / (right - left), height / (bottom - top)
    size = max(1, round((inside[2] - inside[0]) * across)), max(1, round((inside[3] - inside[1]) * down))
    ground = Image.new(image.mode, (width, height), ground_color(spec))
    ground.paste(_scaled(image, size, inside, spec), ((width - size[0]) // 2, (height - size[1]) // 2))
    return ground


def kept_part(size: tuple[int, int], spec: Input) -> Box:
    """Return the part of a picture of this (width, height) that becomes the input; with `pad`, more than the picture.

    What becomes a square is what torchvision's Resize and CenterCrop keep, and timm's: they scale the shorter side to
    a whole number of pixels, cut the other's fraction off, and begin at a whole pixel of that.
    """
    if spec.resize.mode == "crop" and spec.sides[0] == spec.sides[1]:
        side, short = spec.sides[0], min(size)
        scaled = [int(spec.resized_side * length / short) for length in size]
        steps = [length / now for length, now in zip(size, scaled, strict=True)]
        left, top = (round((now - side) / 2) * step for now, step in zip(scaled, steps, strict=True))
        return left, top, min(left + side * steps[0], size[0]), min(top + side * steps[1], size[1])
    share = min(spec.sides) / spec.resized_side
    width, height = (length * share for length in _part(size, spec))
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def _part(size: tuple[int, int], spec: Input) -> tuple[float, float]:
    """Return width and height of what becomes the input where `crop` is 1: with `pad`, more than the picture."""
    if spec.resize.mode == "stretch":
        return float(size[0]), float(size[1])
    height, width = spec.sides
    if spec.resize.mode == "pad":
        return max(size[0], size[1] * width / height), max(size[1], size[0] * height / width)
    return largest_part(size, spec)


def ground_color(spec: Input) -> tuple[int, ...]:
    """Return the color, 0 to 255, of what is beside a padded picture: the mean, in the order of Pillow's channels."""
    values = tuple(min(255, max(0, round(255 * value))) for value in spec.mean)
    return values[::-1] if spec.color == "bgr" else values


def _scaled(image: Image.Image, size: tuple[int, int], box: Box, spec: Input) -> Image.Image:
    filter_ = _FILTERS[spec.resize.filter]
    if spec.resize.antialias:
        return image.resize(size, filter_, box=box)
    if spec.resize.filter == "bilinear":
        return scale_bilinear(image, size, box, spec.resize.corners)
    return image.transform(size, Image.Transform.EXTENT, box, filter_)  # it looks at the next pixels alone


def largest_part(size: tuple[int, int], spec: Input) -> tuple[float, float]:
    """Return width and height of the largest part of a picture of this (width, height) that has the input's shape."""
    height, width = spec.sides
    return min(size[0], size[1] * width / height), min(size[1], size[0] * height / width)


def cut_by_shape(sizes: Sequence[tuple[int, int]], spec: Input, place: Path) -> str:
    """Return a sentence where pictures of another shape lose much of their area; nothing where they do not.

    Args:
        sizes: (width, height) of each picture.
        spec: The recipe's `input`.
        place: Where the pictures are from.
    """
    if spec.frame:
        return _cut_by_frame(sizes, spec.frame, place)
    if spec.resize.mode != "crop":
        return ""
    parts = [math.prod(largest_part(size, spec)) / math.prod(size) for size in sizes]
    cut = [part for part in parts if part < 1 - _CUT]
    if not cut:
        return ""
    (width, height), count = Counter(
        size for size, part in zip(sizes, parts, strict=True) if part < 1 - _CUT
    ).most_common(1)[0]
    # Photos of all shapes are cropped, as in training; a camera's are whole.
    can_be_whole = 2 * count > len(sizes) and min(height, width) >= LEAST_SIDE and max(height, width) <= LARGEST_SIDE
    shape = f"whole ones, give their shape: --input-size {height}x{width}; on " if can_be_whole else ""
    kept = 100 * sum(cut) / len(cut)
    return (
        f"{len(cut)} of {len(sizes)} pictures in {place} have another shape than the input, {spec.size_words}, such as "
        f"{height}x{width} (HEIGHTxWIDTH): the crop leaves {kept:.0f} % of their area at most. If the model was "
        f"trained on {shape}stretched ones: --resize stretch."
    )


def _cut_by_frame(sizes: Sequence[tuple[int, int]], frame: tuple[int, int], place: Path) -> str:
    others = sum(size != frame[::-1] for size in sizes)
    if not others:
        return ""
    return (
        f"{others} of {len(sizes)} pictures in {place} are not of the frame's size, {frame[0]}x{frame[1]} "
        "(HEIGHTxWIDTH): the center of that size is taken, and what is smaller is enlarged first."
    )


def stack(images: Iterable[tuple[str, Image.Image]], spec: Input) -> Array:
    """Preprocess named pictures into one float32 array of shape (N, channels, height, width)."""
    return np.stack([preprocess(image, spec, name) for name, image in images])


def digest_of(arrays: Arrays) -> str:
    """Return the SHA-256 of the arrays' bytes, in their order."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.tobytes())
    return digest.hexdigest()


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder, by suffix, sorted by name.

    Raises:
        UsageError: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Give a folder of pictures.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UsageError(f"There is no picture in {folder}.", f"Pictures end in {', '.join(SUFFIXES)}.")
    return paths


def open_picture(path: Path) -> Image.Image:
    """Read a picture whole.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            image.load()
            return image.copy()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is not a picture that can be read: {error}.", "Replace or remove it.") from error


def load_pictures(paths: Iterable[Path], spec: Input) -> tuple[Array, list[tuple[int, int]]]:
    """Preprocess picture files: float32 (N, channels, height, width), and the (width, height) that each has.

    Raises:
        UsageError: One cannot be read, or is gray where the model takes color.
    """
    pictures, sizes = [], []
    for path in paths:
        image = open_picture(path)
        sizes.append(upright(image, spec).size)
        pictures.append(preprocess(image, spec, str(path)))
    return np.stack(pictures), sizes
