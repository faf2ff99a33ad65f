"""From a picture to the model's input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mobilekit.errors import UsageError
from mobilekit.recipes.schema import Input

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_GRAY_MODES = ("1", "L", "LA", "I", "I;16", "F")

Array = NDArray[np.float32]
Arrays = dict[str, Array]


def preprocess(image: Image.Image, spec: Input, name: str = "the picture") -> Array:
    """Cut the center square, resize it, scale to 0..1, order the channels, and normalize.

    The square has `crop` of the shorter side, so that this is the usual resize of that side and crop of the center.

    Args:
        image: A picture of any size.
        spec: The recipe's `input`.
        name: For error messages.

    Returns:
        float32 of shape (channels, size, size).

    Raises:
        UsageError: The picture is gray and the model takes color.
    """
    if spec.channels == 3 and image.mode in _GRAY_MODES:
        raise UsageError(
            f"{name} is a gray picture (mode {image.mode}), and the model takes {spec.color} color.",
            "Leave it out, or convert it to color if the model will see gray pictures in use.",
        )
    if image.mode == "I;16":  # Pillow would clip it at 255
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    image = image.convert("L" if spec.channels == 1 else "RGB")
    # Only the square that is kept is resized: a very long picture would take gigabytes.
    side = min(image.size) * spec.size / round(spec.size / spec.crop)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = (spec.size, spec.size)
    image = image.resize(square, Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    pixels = np.asarray(image, np.float32) / 255
    pixels = pixels.reshape(spec.size, spec.size, spec.channels)
    if spec.color == "bgr":
        pixels = pixels[..., ::-1]
    normal = (pixels - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


def stack(images: Iterable[tuple[str, Image.Image]], spec: Input) -> Array:
    """Preprocess named pictures into one float32 array of shape (N, channels, size, size)."""
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
        with Image.open(path) as image:
            image.load()
            return image.copy()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is not a picture that can be read: {error}.", "Replace or remove it.") from error


def load_pictures(paths: Iterable[Path], spec: Input) -> Array:
    """Preprocess picture files: float32 (N, channels, size, size).

    Raises:
        UsageError: One cannot be read, or is gray where the model takes color.
    """
    return np.stack([preprocess(open_picture(path), spec, str(path)) for path in paths])
