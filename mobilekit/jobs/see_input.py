"""What a bundle's model sees of a picture, and what an app's own tensor was made by."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mobilekit.artifacts.inspect import input_entry
from mobilekit.errors import UsageError
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.jobs.likeness import RECIPE, Likeness, find_likenesses, levels_of, read_tensor
from mobilekit.recipes.inputs.apps import APPS, AS_RECIPE
from mobilekit.recipes.inputs.preprocess import Array, cut_by_shape, open_picture, upright
from mobilekit.recipes.picture import Input
from mobilekit.store.bundle import INPUT, Bundle
from mobilekit.store.result import Figure, Result


@dataclass(frozen=True)
class Channel(Result):
    """Figures of one channel of the tensor."""

    name: str
    min: Figure
    max: Figure
    mean: Figure


@dataclass(frozen=True)
class SeenInput(Result):
    """What a model sees of a picture."""

    picture: str
    size: tuple[int, int]
    """Height and width in pixels, as viewers show it."""
    mode: str
    """Pillow's: RGB, L, CMYK, ..."""
    app: str
    """Who makes the input: `recipe`, or as `mobilekit diff --app` names it."""
    input: dict[str, Any]
    """How, as the manifest has it."""
    name: str
    """Of the input in all files."""
    shape: tuple[int, int, int, int]
    """NCHW, as ONNX files take it; TFLite files take NHWC."""
    dtype: str
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]
    """What is doubtful about the picture."""
    made_like: tuple[Likeness, ...] = ()
    """Ways in which the tensor that was given may have been made, the nearest first."""


def see_input(
    bundle: Bundle, picture: Path, app: str | None = None, tensor: Path | None = None
) -> tuple[SeenInput, Image.Image]:
    """Return what the first input of a bundle becomes of a picture, and that as a picture again.

    Args:
        bundle: Its recipe says how the input is made.
        picture: A file that Pillow reads.
        app: Makes the input as this app does, and not as the recipe says.
        tensor: The values that an app gave the model, .npy or their bytes, to be compared with every way.

    Raises:
        UsageError: The picture cannot be read, or the model takes no such one; the app is a mistake that cannot be
            made; or the tensor cannot be read, or has another size.
    """
    spec = recipe_of_bundle(bundle).recipe.input
    if not picture.is_file():
        raise UsageError(f"There is no file {picture}.", "Name a picture's file.")
    image, name = open_picture(picture), str(picture)
    way = APPS[app] if app else AS_RECIPE
    made = way.input_of(spec)
    if made is None:
        raise UsageError(f"{app} is a mistake that cannot be made with this model: {way.what}.", "Name another app.")
    array, whole = way.preprocess(image, made, name), upright(image, made)
    seen = SeenInput(
        name,
        (whole.height, whole.width),
        image.mode,
        app or RECIPE,
        input_entry(made),
        INPUT,
        spec.shape,
        spec.dtype,
        tuple(_channels(array, made)),
        tuple(_notes(image, picture, made)),
        find_likenesses(image, spec, read_tensor(tensor, spec), name) if tensor else (),
    )
    return seen, as_picture(array, spec)


def as_picture(array: Array, spec: Input) -> Image.Image:
    """Return a tensor as the picture that a model of this recipe takes it for; what is beyond 0..255 is cut off.

    Args:
        array: float32 (channels, height, width).
        spec: The recipe's `input`.
    """
    pixels = np.clip(np.round(levels_of(array, spec)), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    if spec.color == "bgr":
        pixels = pixels[..., ::-1]
    return Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if spec.channel_count == 1 else pixels))


def png_of(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _channels(array: Array, spec: Input) -> Iterator[Channel]:
    names = {"rgb": "red green blue", "bgr": "blue green red", "rgba": "red green blue alpha", "gray": "gray"}
    for name, values in zip(names[spec.color].split(), array, strict=True):
        yield Channel(name, float(values.min()), float(values.max()), float(values.mean(dtype=np.float64)))


def _notes(image: Image.Image, picture: Path, spec: Input) -> Iterator[str]:
    shown = upright(image, spec)
    if shown is not image:
        yield "It is turned by the orientation in its EXIF data."
    with warnings.catch_warnings(action="ignore"), Image.open(picture) as opened:  # `open_picture` has read it
        frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        yield f"It is the first of {frames} frames."
    if image.has_transparency_data and spec.color != "rgba":
        yield "Its transparency is dropped: what is transparent has the color that is written there."
    if note := cut_by_shape([shown.size], spec, picture):
        yield note
