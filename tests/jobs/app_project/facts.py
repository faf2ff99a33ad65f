"""Facts as templates are given them, of bundles that nobody has to export."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mobilekit.jobs.app_project.facts import AppFacts, AppFile, kept_by, scales_exactly
from mobilekit.jobs.app_project.platforms import PLATFORMS
from mobilekit.jobs.app_project.write import rendered
from mobilekit.recipes.inputs.preprocess import ground_color
from mobilekit.recipes.picture import Input
from mobilekit.store.manifest import Tensor

SPECS: dict[str, dict[str, Any]] = {
    "center crop": {"size": 24},
    "wide crop": {"size": [16, 40], "crop": 0.9, "resize": {"filter": "bilinear"}},
    "stretched": {"size": [24, 32], "crop": 0.8, "resize": {"mode": "stretch", "filter": "lanczos"}},
    "padded": {"size": 32, "crop": 1.0, "resize": {"mode": "pad", "filter": "area"}},
    "padded bgr": {"size": [20, 32], "crop": 1.0, "color": "bgr", "resize": {"mode": "pad"}, "mean": [0.1, 0.5, 0.9]},
    "plain": {"size": 24, "resize": {"filter": "bilinear", "antialias": False}},
    "corners": {"size": 24, "crop": 1.0, "resize": {"filter": "bilinear", "antialias": False, "corners": True}},
    "plain bicubic": {"size": 24, "crop": 1.0, "resize": {"filter": "bicubic", "antialias": False}},
    "nearest": {"size": 24, "resize": {"filter": "nearest", "antialias": False}},
    "frame": {"size": 24, "crop": 1.0, "frame": [48, 96]},
    "frame of floats": {
        "size": 24,
        "crop": 1.0,
        "frame": [48, 72],
        "dtype": "float32",
        "resize": {"filter": "bilinear"},
    },
    "gray": {"size": 24, "color": "gray", "mean": [0.5], "std": [0.5]},
    "rgba, not turned": {"size": 24, "color": "rgba", "mean": [0.5] * 4, "std": [0.5] * 4, "exif": "ignore"},
}
"""A recipe's `input` of every kind."""


def make_facts(
    platform: str, spec: dict[str, Any], outputs: tuple[int, ...] = (1, 4), labels: tuple[str, ...] = ()
) -> AppFacts:
    """Return the facts of a bundle with one float32 file.

    Args:
        platform: Of the project.
        spec: The recipe's `input`.
        outputs: Shape of its output.
        labels: Names of its classes.
    """
    picture = Input.model_validate(spec)
    shape = [1, *picture.shape[2:], picture.channel_count]
    file = AppFile(
        "model.float32.tflite",
        Tensor("input", shape, "NHWC", picture.dtype),
        (Tensor("logits", list(outputs), None, "float32"),),
    )
    return AppFacts(
        name="a net",
        slug="a_net",
        files=(file,),
        left_out={"model.int8.tflite": "it is none"},
        picture=picture,
        height=picture.shape[2],
        width=picture.shape[3],
        kept=kept_by(picture),
        scales_exactly=scales_exactly(picture),
        how="somehow",
        ground=ground_color(picture),
        labels=labels,
        has_scores=len(outputs) == 2,
        cases=2,
        versions=PLATFORMS[platform].versions,
    )


def picture_module(spec: dict[str, Any]) -> Any:
    """Return the Python project's module of pictures, which tests of it compare with `preprocess`."""
    code = dict(rendered("python", make_facts("python", spec)))["picture.py"]
    made = ModuleType("picture")
    exec(compile(code, "picture.py", "exec"), made.__dict__)  # noqa: S102
    return made
