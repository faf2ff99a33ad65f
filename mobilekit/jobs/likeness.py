"""How an app made a tensor of a picture: which scaling, and which mistake, come nearest to its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilekit.errors import UsageError
from mobilekit.recipes.inputs.apps import APPS, AS_RECIPE, AppInput
from mobilekit.recipes.inputs.preprocess import Array
from mobilekit.recipes.picture import Input
from mobilekit.store.files import read_numbers
from mobilekit.store.result import Figure, Result

RECIPE = "recipe"
"""What stands in the place of an app's name where the input is made as the recipe says."""
SAME = 1.5
"""Mean difference in levels up to which a tensor is said to be made in a way: TensorFlow's decoder of
JPEG is .9 off Pillow's, and MediaPipe's scaling .9 off ours on noise."""
_PLACES = {"resize", "crop", "exif"}
"""Keys of `input` that say where in the picture a value is from, and not what it is."""


@dataclass(frozen=True)
class Likeness(Result):
    """How far a tensor is from one way of making the input."""

    ways: tuple[str, ...]
    """Names that come to the same: `recipe`, an app as `mobilekit diff --app` has it, or with a mistake, `tf+bgr`."""
    what: str
    """The mistakes in words; nothing where there is none."""
    mean_levels: Figure
    """Mean difference, in levels of 255 of the picture."""
    max_levels: Figure


def read_tensor(path: Path, spec: Input) -> Array:
    """Return what an app gave a model: an .npy file, or the bytes of float32 (little-endian) or uint8 values.

    An array of shape (..., channels, height, width) is read so; all else pixel by pixel, as TFLite files take it.

    Args:
        path: The file.
        spec: The recipe's `input`.

    Returns:
        float32 (channels, height, width).

    Raises:
        UsageError: It cannot be read, or has another number of values.
    """
    _batch, channels, height, width = spec.shape
    count = channels * height * width
    try:
        data = read_numbers(path) if path.suffix == ".npy" else np.fromfile(path, np.uint8)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Give an .npy file, or the values' bytes.") from error
    if path.suffix != ".npy" and data.size == 4 * count:
        data = data.view("<f4")
    if data.size != count:
        raise UsageError(
            f"{path} holds {data.size} values of {data.dtype}, and the model takes {height} x {width} x {channels}.",
            "Give what the app writes into the input, one picture: .npy, or the bytes of float32 or uint8.",
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite
        values = data.astype(np.float32)
    if not np.isfinite(values).all():
        raise UsageError(
            f"{path} holds values that are not finite.", "No picture gives these: look at what writes them."
        )
    is_nchw = values.shape[-3:] == (channels, height, width)
    return values.reshape(channels, height, width) if is_nchw else values.reshape(height, width, -1).transpose(2, 0, 1)


def find_likenesses(image: Image.Image, spec: Input, tensor: Array, name: str) -> tuple[Likeness, ...]:
    """Compare a tensor with what each scaling, with each mistake and without, makes of a picture.

    Args:
        image: The picture that the app was given.
        spec: The recipe's `input`.
        tensor: float32 (channels, height, width).
        name: For error messages.

    Returns:
        The ways, the nearest first.

    Raises:
        UsageError: As `preprocess` raises.
    """
    given, arrays, alike = levels_of(tensor, spec), dict[tuple[Input, bool], Array](), dict[bytes, list[_Way]]()
    for way in _ways(spec):
        made = way.app.input_of(spec)
        if made is None:
            continue
        how = (made, way.app.is_reordered)
        if how not in arrays:
            arrays[how] = way.app.preprocess(image, made, name)
        alike.setdefault(arrays[how].tobytes(), []).append(way)
    found = []
    for data, ways in alike.items():
        apart = np.abs(levels_of(np.frombuffer(data, np.float32).reshape(tensor.shape), spec) - given)
        fewest = [way for way in ways if len(way.mistakes) == min(len(each.mistakes) for each in ways)]
        what = "; ".join(fewest[0].mistakes)
        found.append(Likeness(tuple(way.name for way in fewest), what, float(apart.mean()), float(apart.max())))
    return tuple(sorted(found, key=lambda each: each.mean_levels))


@dataclass(frozen=True)
class _Way:
    name: str
    app: AppInput
    mistakes: tuple[str, ...]
    """In words. Of ways that come to the same, such as stretching a square picture, that with the fewest is meant."""


def _ways(spec: Input) -> Iterator[_Way]:
    """Yield what differs in where pixels are from, each alone and with each mistake in what they hold."""
    known = {RECIPE: AS_RECIPE, **{name: app for name, app in APPS.items() if app.input_of(spec) is not None}}
    places = {name: app for name, app in known.items() if set(app.changes) <= _PLACES and not app.is_reordered}
    for place, app in places.items():
        yield _Way(place, app, _mistakes(app))
    for mistake, wrong in ((name, app) for name, app in known.items() if name not in places):
        for place, app in places.items():
            name = mistake if place == RECIPE else f"{place}+{mistake}"
            yield _Way(name, replace(wrong, changes={**app.changes, **wrong.changes}), _mistakes(app, wrong))


def _mistakes(*apps: AppInput) -> tuple[str, ...]:
    return tuple(app.what for app in apps if app.is_mistake)


def levels_of(array: Array, spec: Input) -> NDArray[np.float64]:
    """Return values as levels of 0..255, as a model of this recipe takes them.

    Args:
        array: float32 (channels, height, width).
        spec: The recipe's `input`.
    """
    if spec.takes_levels:
        return array.astype(np.float64)
    mean, std = (np.array(values).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    levels: NDArray[np.float64] = 255 * (array * std + mean)
    return levels
