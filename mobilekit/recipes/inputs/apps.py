"""What apps make of a picture: other software scales it, and some make a mistake.

Each is data: keys of a recipe's `input` that an app has otherwise. That software scales so was measured beside the
software itself; `benchmarks/scalers` has the figures, and docs/app.md shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from mobilekit.errors import UsageError, nearest
from mobilekit.recipes.inputs.preprocess import Array, preprocess
from mobilekit.recipes.picture import Input

ALL, MISTAKES = "all", "mistakes"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class AppInput:
    """How an app makes the model's input."""

    what: str
    """What it does, in words."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the recipe's `input` that it has otherwise."""
    is_mistake: bool = False
    """Whether it is one that nobody means to make."""
    is_reordered: bool = False
    """Whether it writes the values channel by channel, where the file takes them pixel by pixel."""

    def input_of(self, spec: Input) -> Input | None:
        """Return the recipe's `input` as this app has it; None where the mistake cannot be made with such a model."""
        inside = ("resize", "crop") if spec.frame else ()  # what files do themselves, no app does otherwise
        changes = {key: value for key, value in self.changes.items() if key not in inside}
        if "resize" in changes:
            changes["resize"] = {**spec.resize.model_dump(), **changes["resize"]}
        if "color" in changes:
            changes["color"] = {"rgb": "bgr", "bgr": "rgb"}.get(spec.color, spec.color)
        if "mean" in changes:
            if spec.takes_levels or len(changes["mean"]) not in (1, spec.channel_count):
                return None
            changes |= {key: tuple(np.resize(changes[key], spec.channel_count).tolist()) for key in ("mean", "std")}
        made = Input.model_validate({**spec.model_dump(), **changes})
        can_be_made = made != spec or (self.is_reordered and spec.channel_count > 1)
        return made if can_be_made or not self.is_mistake else None

    def preprocess(self, image: Image.Image, spec: Input, name: str) -> Array:
        """Return what the model gets of a picture, float32 (channels, height, width).

        Args:
            image: The picture.
            spec: What `input_of` returned.
            name: For error messages.

        Raises:
            UsageError: As `preprocess` raises.
        """
        array = preprocess(image, spec, name)
        if self.is_reordered:
            channels, height, width = array.shape
            array = np.ascontiguousarray(array.reshape(height, width, channels).transpose(2, 0, 1))
        return array


def _normalized(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    return {"mean": mean, "std": std}


_BILINEAR = {"filter": "bilinear", "antialias": False, "corners": False}
_NEAREST = {"filter": "nearest", "antialias": False, "corners": False}

APPS: Mapping[str, AppInput] = {
    "android": AppInput("Bitmap.createScaledBitmap and Canvas.drawBitmap with filter", {"resize": _BILINEAR}),
    "browser": AppInput("createImageBitmap with its default quality, low", {"resize": _BILINEAR}),
    "mediapipe": AppInput(
        "MediaPipe Tasks, given the whole picture",
        {"resize": {**_BILINEAR, "corners": True, "mode": "stretch"}, "crop": 1.0},
    ),
    "opencv": AppInput("cv2.resize with its default, INTER_LINEAR", {"resize": _BILINEAR}),
    "tf": AppInput("tf.image.resize with its default, bilinear without antialias", {"resize": _BILINEAR}),
    "nearest": AppInput("scaled to the nearest pixel", {"resize": _NEAREST}, is_mistake=True),
    "stretched": AppInput("stretched to the input's shape", {"resize": {"mode": "stretch"}}, is_mistake=True),
    "cropped": AppInput("its shape kept, and the borders cut off", {"resize": {"mode": "crop"}}, is_mistake=True),
    "no-crop": AppInput("not cropped by the recipe's share", {"crop": 1.0}, is_mistake=True),
    "sideways": AppInput("not turned by the orientation in its EXIF data", {"exif": "ignore"}, is_mistake=True),
    "bgr": AppInput("red and blue exchanged", {"color": ""}, is_mistake=True),
    "bytes": AppInput("0..255, not normalized", _normalized((0.0,), (1 / 255,)), is_mistake=True),
    "unit": AppInput("0..1, not normalized", _normalized((0.0,), (1.0,)), is_mistake=True),
    "half": AppInput("-1..1, as mean and std of 0.5 make it", _normalized((0.5,), (0.5,)), is_mistake=True),
    "imagenet": AppInput("ImageNet's mean and std", _normalized(*IMAGENET), is_mistake=True),
    "planes": AppInput("channel by channel (NCHW), and not pixel by pixel", is_mistake=True, is_reordered=True),
}
"""All that is known, by its name; those that are no mistakes are the software that gates may name."""


AS_RECIPE = AppInput("as the recipe says")


def find_app(name: str) -> str:
    """Return the name of one app.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in APPS:
        what = f"There is no app {name}." if name.strip() else "--app names nothing."
        raise UsageError(what, nearest(name, APPS))
    return name


def find_apps(listed: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas: of software and of mistakes, `mistakes`, or `all`.

    Raises:
        UsageError: There is none of a name, or none is named.
    """
    groups = {ALL: tuple(APPS), MISTAKES: tuple(name for name, app in APPS.items() if app.is_mistake)}
    words = [word.strip() for word in listed.split(",") if word.strip()]
    unknown = [word for word in words if word not in APPS and word not in groups]
    if unknown or not words:
        word = unknown[0] if unknown else ""
        raise UsageError(
            f"There is no app {word}." if word else "--app names nothing.", nearest(word, [*APPS, MISTAKES, ALL])
        )
    named = {name for word in words for name in groups.get(word, (word,))}
    return tuple(name for name in APPS if name in named)
