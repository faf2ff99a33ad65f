"""The data that installed packages bring: photos for ImageNet-like models, handwritten digits for the small one.

Calibration and evaluation never share a picture.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageEnhance import Brightness, Color, Contrast

from mobilekit.recipes.inputs.extra import with_extras
from mobilekit.recipes.inputs.preprocess import Arrays, stack
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT

# Color photos in the wheels of scikit-image, scikit-learn and matplotlib: in both lists a person, a thing close by,
# and something bright in the dark.
CALIBRATION_PHOTOS = (
    "skimage/astronaut.png",
    "skimage/coffee.png",
    "skimage/motorcycle_left.png",
    "sklearn/china.jpg",
    "skimage/hubble_deep_field.jpg",
    "skimage/retina.jpg",
    "skimage/ihc.png",
)
EVALUATION_PHOTOS = (
    "skimage/chelsea.png",
    "skimage/rocket.jpg",
    "sklearn/flower.jpg",
    "matplotlib/grace_hopper.jpg",
)
_FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}
_SMALLEST_CROP = 0.08
_LIGHT = 0.2
_PRIMES = np.array([2.0, 3.0, 5.0, 7.0, 11.0, 13.0])

DIGITS_TEST_COUNT = 360
EVALUATION_COUNT = 8
"""Of photos that stages are measured on."""
_DIGITS_SEED = 0


Picture = tuple[str, Image.Image]
"""Its name and itself."""


@dataclass(frozen=True)
class Evaluation:
    """Inputs to measure on: float32 (N, ...) by name, and class numbers where they are known."""

    name: str
    inputs: Arrays
    labels: NDArray[np.int64] | None = None
    classes: int | None = None
    """How many classes the labels number, where they are the places of folders in their order."""
    is_own: bool = False
    """Whether the user brought them."""
    notes: tuple[str, ...] = ()
    """What is doubtful about them."""
    label_names: tuple[str, ...] = ()
    """Of the classes by their numbers, where they are known."""
    pictures: Callable[[], Iterable[Picture]] | None = None
    """Opens the pictures that `inputs` were made of, in their order; None of arrays."""

    @property
    def count(self) -> int:
        """The number N of inputs."""
        return len(self.inputs[INPUT])


def calibration_inputs(recipe: Recipe) -> Arrays:
    """Return the recipe's built-in calibration inputs by name, float32 (count, ...)."""
    count = recipe.calibration.count
    if recipe.data == "digits":
        images, _labels = digits("train")
        pictures = stack(((f"digit {i}", image) for i, image in enumerate(images[:count])), recipe.input)
        return with_extras(pictures, recipe)
    return with_extras(stack(varied_views(CALIBRATION_PHOTOS, count), recipe.input), recipe)


def evaluation_inputs(recipe: Recipe, photos: int = EVALUATION_COUNT) -> Evaluation:
    """Return the recipe's built-in evaluation inputs: photos, or the digits' test split with its labels."""
    if recipe.data == "digits":
        images, labels = digits("test")
        named = [(f"digit {i}", image) for i, image in enumerate(images)]
        inputs = with_extras(stack(named, recipe.input), recipe)
        return Evaluation("digits test split", inputs, labels, pictures=lambda: named)
    views = photo_views(EVALUATION_PHOTOS, photos // len(EVALUATION_PHOTOS))
    return Evaluation("photos", with_extras(stack(views, recipe.input), recipe), pictures=lambda: views)


def photo_views(names: tuple[str, ...], views: int) -> list[Picture]:
    """Return square views of each photo: the photo once, then its corners at three quarters of its shorter side.

    Photos take turns, so that any beginning of the list has every photo in it as evenly as can be.
    """
    pictures = [(name, _open_packaged(name)) for name in names]
    return [(f"{name} view {view}", _view(image, view)) for view in range(views) for name, image in pictures]


def varied_views(names: tuple[str, ...], count: int) -> list[Picture]:
    """Return `count` views: each photo once as it is, then crops of them in other light, the photos taking turns.

    A few photos as they are leave ranges and batch norms that the next photo exceeds by far: tensors with one value for
    a whole picture, like pooled features, have only as many values as there are pictures. The crops are those that
    networks are trained on, 8 to 100 % of the area (Szegedy et al., arXiv 1409.4842), with brightness, contrast and
    saturation changed by up to a fifth (after Howard, arXiv 1312.5402).

    Places and changes are spread evenly by multiples of square roots of primes (Richtmyer's sequence) and not drawn, so
    that they are the same for ever.
    """
    pictures = [(name, _open_packaged(name)) for name in names]
    views = []
    for number in range(count):
        name, image = pictures[number % len(pictures)]
        varied = image if number < len(pictures) else _vary(image, np.sqrt(_PRIMES) * number % 1)
        views.append((f"{name} view {number // len(pictures)}", varied))
    return views


def digits(split: str) -> tuple[list[Image.Image], NDArray[np.int64]]:
    """Return scikit-learn's handwritten digits as 8 x 8 gray pictures, with their classes.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository; 1797 pictures.

    Args:
        split: `train` (1437) or `test` (360), stratified by class with a fixed seed.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train, test = train_test_split(
        np.arange(len(data.target)), test_size=DIGITS_TEST_COUNT, random_state=_DIGITS_SEED, stratify=data.target
    )
    chosen = train if split == "train" else test
    pixels = np.round(data.images[chosen] * (255 / 16)).astype(np.uint8)
    return [Image.fromarray(image) for image in pixels], data.target[chosen].astype(np.int64)


def _open_packaged(name: str) -> Image.Image:
    package, file = name.split("/")
    spec = importlib.util.find_spec(package)  # found without importing it, which would take a second
    assert spec and spec.submodule_search_locations
    return Image.open(Path(spec.submodule_search_locations[0]) / _FOLDERS[package] / file).convert("RGB")


def _view(image: Image.Image, view: int) -> Image.Image:
    if view == 0:
        return image
    side = max(int(min(image.size) * 0.75) - 8 * ((view - 1) // 4), min(image.size) // 4)
    right, bottom = image.width - side, image.height - side
    left, top = ((0, 0), (right, bottom), (right, 0), (0, bottom))[(view - 1) % 4]
    return image.crop((left, top, left + side, top + side))


def _vary(image: Image.Image, places: NDArray[np.float64]) -> Image.Image:
    """Return a square crop in other light, as six numbers in 0..1 say."""
    area = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * places[0]
    side = min(int(math.sqrt(area * image.width * image.height)), *image.size)
    left, top = (int(place * (length - side)) for place, length in zip(places[1:3], image.size, strict=True))
    image = image.crop((left, top, left + side, top + side))
    for enhance, place in zip((Brightness, Contrast, Color), places[3:], strict=True):
        image = enhance(image).enhance(1 - _LIGHT + 2 * _LIGHT * float(place))
    return image
