"""What the templates of an app are given: all of it is from the bundle, and nothing is of one model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobilekit.errors import UsageError
from mobilekit.jobs.app_project.platforms import PLATFORMS
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.recipes.inputs.labeled import read_labels
from mobilekit.recipes.inputs.preprocess import ground_color
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import Bundle
from mobilekit.store.manifest import File, Tensor
from mobilekit.store.stages import TFLITE_STAGES, check_precisions


@dataclass(frozen=True)
class AppFile:
    """A file of the bundle that the app runs."""

    file: str
    input: Tensor
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class AppFacts:
    """The table of what the templates are given."""

    name: str
    """Of the model: letters, digits, spaces, `.`, `_` and `-` alone, so that it stands in any language as it is."""
    slug: str
    """The same in small letters, digits and `_`, beginning with a letter: a name in code."""
    files: tuple[AppFile, ...]
    """The first is the one that runs where no other is chosen."""
    left_out: Mapping[str, str]
    """Why the platform's runtime does not take a file, by its name."""
    picture: Input
    """How a picture becomes the input."""
    height: int
    """Of what the files take, in pixels: the network's picture, or a frame that they scale themselves."""
    width: int
    kept: Literal["frame", "square", "part"]
    """Which formula says the part of a picture that is kept: the center of a frame's size, the center of a square as
    torchvision rounds it, or a share of the picture."""
    scales_exactly: bool
    """Whether the projects' own code scales to two levels of 255 as the recipe does; Python's has Pillow for all."""
    how: str
    """The same as `picture` in words: crop and scaling."""
    ground: tuple[int, ...]
    """Color of what is beside the picture where that is padded, 0 to 255, in the order RGB."""
    labels: tuple[str, ...]
    """Names of the classes; none where nobody named them."""
    has_scores: bool
    """Whether the first output is a number for each class."""
    cases: int
    """Of the goldens."""
    versions: Mapping[str, str]
    """Of the packages that the project asks for, as the platform writes them."""


def facts_of(
    bundle: Bundle,
    platform: str,
    cases: int,
    precisions: Sequence[str] | None = None,
    labels: Path | None = None,
    name: str | None = None,
) -> AppFacts:
    """Return what a bundle tells the templates of a platform.

    Args:
        bundle: The bundle.
        platform: A name of `PLATFORMS`.
        cases: Of the goldens.
        precisions: Of the TFLite files that the app gets, the first of which runs; all without.
        labels: A file with the names of the classes; the recipe's without.
        name: What the app is called; as the model without.

    Raises:
        UsageError: The model takes no single picture, the files are not there or none of them runs on the platform, or
            there are more or fewer labels than classes.
    """
    recipe = recipe_of_bundle(bundle).recipe
    _check_input(recipe)
    files, left_out = _files(bundle, platform, precisions)
    first = files[0].outputs[0]
    has_scores = len(first.shape) == 2
    names = tuple(read_labels(labels)) if labels else recipe.labels
    classes = first.shape[-1] if has_scores else 0
    if labels and len(names) != classes:
        held = f"{first.name} has {classes} classes" if has_scores else f"{first.name} holds no scores of classes"
        raise UsageError(f"{labels} names {len(names)} classes, and {held}.", "Name each class in a line of its own.")
    called = _plain(name or re.split("[/:]", str(bundle.manifest["model"]["name"]))[-1])
    return AppFacts(
        called,
        _slug(called),
        files,
        left_out,
        recipe.input,
        *recipe.input.shape[2:],
        kept_by(recipe.input),
        scales_exactly(recipe.input),
        _how(recipe.input),
        ground_color(recipe.input),
        names if len(names) == classes else (),
        has_scores,
        cases,
        PLATFORMS[platform].versions,
    )


def _check_input(recipe: Recipe) -> None:
    """Refuse a model that an app cannot be made of from what the bundle says."""
    if recipe.input.channels is not None:
        raise UsageError(
            f"The model takes arrays of {recipe.input.channels} channels, and an app begins at a picture.",
            "`mobilekit goldens make` writes cases for an app of your own.",
        )
    if recipe.extra_inputs:
        raise UsageError(
            f"The model takes {', '.join(recipe.extra_inputs)} besides the picture, of which an app knows nothing.",
            "`mobilekit goldens make` writes cases for an app of your own.",
        )
    if recipe.input.batch != 1:
        raise UsageError(
            f"The files take {recipe.input.batch} pictures at once, and an app has one.", "Export with --batch 1."
        )


def _files(
    bundle: Bundle, platform: str, precisions: Sequence[str] | None
) -> tuple[tuple[AppFile, ...], dict[str, str]]:
    """Return the files that an app gets, and why others are left out."""
    if precisions is not None:
        check_precisions(precisions)
    there = bundle.precisions
    if missing := [each for each in precisions or () if each not in there]:
        raise UsageError(f"{bundle.path} has no {missing[0]} file.", f"It has {', '.join(there)}.")
    wanted = dict.fromkeys(precisions or there)
    stages = {stage.precision: stage for stage in TFLITE_STAGES}
    taken, left_out = [], {}
    for stage in (*(stages[each] for each in wanted), *bundle.onnx_stages):  # type: ignore[index]
        entry = File.from_json(bundle.manifest["artifacts"][stage.file])
        if stage.file_format not in PLATFORMS[platform].formats:
            continue
        if reason := PLATFORMS[platform].why_not(entry):
            left_out[stage.file] = reason
        else:
            taken.append(AppFile(stage.file, entry.inputs[0], tuple(entry.outputs)))
    if not taken:
        if not left_out:
            raise UsageError(
                f"{bundle.path} has no file that {platform} runs.", "Export it with --precision float32 or int8."
            )
        reasons = "; ".join(f"{file}: {reason}" for file, reason in left_out.items())
        raise UsageError(f"None of the files runs on {platform}: {reasons}.", "Name others with --precision.")
    return tuple(taken), left_out


def _plain(name: str) -> str:
    """Return a name with a `-` for each letter that means something in some language."""
    return re.sub(r"[^A-Za-z0-9 ._-]+", "-", name).strip(" -.") or "model"


def _slug(name: str) -> str:
    slug = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    return slug if slug[:1].isalpha() else f"model_{slug}".rstrip("_")


def kept_by(spec: Input) -> Literal["frame", "square", "part"]:
    """Return which formula says the part of a picture that is kept."""
    if spec.frame:
        return "frame"
    return "square" if spec.resize.mode == "crop" and spec.sides[0] == spec.sides[1] else "part"


def scales_exactly(spec: Input) -> bool:
    """Return whether code that is not Pillow's scales as Pillow does, to two levels of 255.

    Not so: nearest, where a place is just between two pixels; bicubic without antialiasing at a picture's borders; and
    colors that are not opaque, which a canvas does not keep.
    """
    resize = spec.resize
    return spec.color != "rgba" and resize.filter != "nearest" and (resize.antialias or resize.filter == "bilinear")


def _how(spec: Input) -> str:
    """Return in words how a picture gets the input's size."""
    if spec.frame:
        return f"its center, not scaled; the files crop and scale that ({spec.resize.words}) to {spec.size_words}"
    share = f"{100 * spec.crop:.4g} % of its height and width"
    kept = {
        "crop": f"the largest part of its shape in the center, {share}",
        "stretch": f"stretched, {share}",
        "pad": f"all of it on a ground of one color, {share}",
    }[spec.resize.mode]
    return f"{kept}; {spec.resize.words}"
