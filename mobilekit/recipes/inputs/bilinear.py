"""Bilinear scaling without antialiasing, as most software of apps does it: four pixels make one, out of how many ever.

With s pixels of the source for one, OpenCV's INTER_LINEAR, Skia, PyTorch, TensorFlow 2 and browsers read the source at
(i + 1/2) s - 1/2, which maps centers of pixels to centers. MediaPipe and TensorFlow 1 read it at i s, their corners.
Pillow has the first as well, by `Image.transform`, but cuts fractions off: pictures come out half a level darker.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the source."""


def scale_bilinear(image: Image.Image, size: tuple[int, int], box: Box, corners: bool = False) -> Image.Image:
    """Return a part of a picture in another size, each value rounded to the nearest byte.

    Args:
        image: In a mode of bytes: L, RGB or RGBA.
        size: Width and height in pixels.
        box: The part; what would be read outside of the picture is the pixel at its border.
        corners: Map corners of pixels to corners and not centers to centers.
    """
    pixels = np.asarray(image)
    left, top, right, bottom = box
    across = _neighbors(size[0], left, right, pixels.shape[1], corners)
    down = _neighbors(size[1], top, bottom, pixels.shape[0], corners)
    rows = _mixed(pixels, *down)
    made = _mixed(rows.swapaxes(0, 1), *across).swapaxes(0, 1)
    return Image.fromarray(np.ascontiguousarray(np.floor(made + 0.5).astype(np.uint8)))


def _neighbors(
    count: int, start: float, end: float, length: int, corners: bool
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the pixel before each of `count` places between `start` and `end`, and how far the place is past it."""
    center = 0.0 if corners else 0.5
    places = np.clip(start + (np.arange(count) + center) * (end - start) / count - center, 0, length - 1)
    before = np.floor(places).astype(np.intp)
    return before, places - before


def _mixed(lines: NDArray[Any], before: NDArray[np.intp], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mixtures of lines, the first axis, and the next ones."""
    after = np.minimum(before + 1, len(lines) - 1)
    weight = share.reshape(-1, *[1] * (lines.ndim - 1))
    mixed: NDArray[np.float64] = lines[before] * (1 - weight) + lines[after] * weight
    return mixed
