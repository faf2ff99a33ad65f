"""Pictures to measure on, and what is measured of a file's outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilekit.artifacts.litert import LiteRTRuntime, LiteRTTensor, decode

Arrays = NDArray[Any]
CROPS = 10
MARGIN = 0.2
"""In logits: below it, rounding of a tenth decides which class leads."""


@dataclass(frozen=True)
class Pictures:
    """uint8 (N, H, W, 3), with the class of each and the number of the photo that it is a crop of."""

    images: Arrays
    labels: Arrays
    photos: Arrays


def crops(folder: Path, size: int) -> Pictures:
    """Return views of each photo: its center, then seeded squares of half to all of its shorter side, some mirrored."""
    draw = np.random.default_rng(7)
    images, labels, photos = [], [], []
    for number, path in enumerate(sorted(folder.glob("*"))):
        picture = Image.open(path).convert("RGB")
        for view in range(CROPS):
            side = int(min(picture.size) * (0.875 if view == 0 else draw.uniform(0.55, 1)))
            rest = [each - side for each in picture.size]
            x, y = (each // 2 if view == 0 else int(draw.integers(0, each + 1)) for each in rest)
            crop = picture.crop((x, y, x + side, y + side)).resize((size, size), Image.Resampling.BILINEAR)
            array = np.asarray(crop)
            images.append(array[:, ::-1] if view % 2 else array)
            labels.append(int(path.stem.split("_")[-1]))
            photos.append(number)
    return Pictures(np.stack(images), np.array(labels), np.array(photos))


def by_litert(content: bytes, layouts: Mapping[str, str], images: Arrays) -> tuple[dict[str, Arrays], float]:
    """Return what a TFLite file gives, float32 (N, C, ...) by name, and the share of numbers at an end of their format.

    Args:
        content: The file, which takes a picture's bytes.
        layouts: Which outputs are NHWC, by their names.
        images: uint8 (N, H, W, C).
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(content)
        runtime = LiteRTRuntime(path, layouts)
    made = runtime.run({"input": images.transpose(0, 3, 1, 2)})
    rounded = [info for info in runtime.outputs if info.scale is not None]
    at_ends = [np.isin(made[info.name], decode(_ends(info), info)).reshape(-1) for info in rounded]
    return made, float(np.concatenate(at_ends).mean()) if at_ends else 0.0


def _ends(info: LiteRTTensor) -> Arrays:
    format_of = np.iinfo(info.dtype)
    return np.array([format_of.min, format_of.max])


@dataclass(frozen=True)
class Judge:
    """What is measured of a network's outputs, float32 (N, ...) by name."""

    head: tuple[str, ...]
    """Of the columns."""
    float32: Callable[[Mapping[str, Arrays], Pictures], list[str]]
    """Returns the cells of the float32 file, of what it gives."""
    figures: Callable[[Mapping[str, Arrays], Mapping[str, Arrays], Pictures, float | None], list[str]]
    """Returns the cells of a file, of what it gives and float32 gives, and the share at an end where it is known."""


def _float32(wanted: Mapping[str, Arrays], pictures: Pictures) -> list[str]:
    [logits] = wanted.values()
    return ["", "", "", "", f"{(logits.argmax(1) == pictures.labels).mean() * 100:.1f}", ""]


def figures(
    made_by_name: Mapping[str, Arrays],
    wanted_by_name: Mapping[str, Arrays],
    pictures: Pictures,
    at_ends: float | None,
) -> list[str]:
    """Return the cells of a row of a classifier; the error of the agreement is clustered by photo."""
    [made], [wanted] = made_by_name.values(), wanted_by_name.values()
    same = made.argmax(1) == wanted.argmax(1)
    leads = np.sort(wanted, 1)
    leads_clearly = leads[:, -1] - leads[:, -2] > MARGIN
    of_photos = np.array([same[pictures.photos == photo].mean() for photo in np.unique(pictures.photos)])
    deviation = of_photos.std(ddof=1) / np.sqrt(len(of_photos))
    return [
        f"{relative_errors(made, wanted).mean():.3f}",
        f"{worst_cosine(made, wanted):.3f}",
        f"{same.mean():.1%} ± {deviation:.1%}".replace("%", ""),
        f"{same[leads_clearly].mean() * 100:.1f}",
        f"{(made.argmax(1) == pictures.labels).mean() * 100:.1f}",
        ends_cell(at_ends),
    ]


def relative_errors(made: Arrays, wanted: Arrays) -> Arrays:
    """Return the relative L2 error of each picture's output, (N,)."""
    difference, norms = (each.reshape(len(each), -1) for each in (made - wanted, wanted))
    errors: Arrays = np.linalg.norm(difference, axis=1) / np.linalg.norm(norms, axis=1)
    return errors


def worst_cosine(made: Arrays, wanted: Arrays) -> float:
    """Return the smallest cosine of a picture's two outputs."""
    one, other = (each.reshape(len(each), -1) for each in (made, wanted))
    return float(((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min())


def ends_cell(at_ends: float | None) -> str:
    """Return the cell of the share of outputs at an end of their format, in percent."""
    return "" if at_ends is None else f"{at_ends * 100:.2f}"


CLASSES = Judge(
    (
        "relative L2",
        "worst cosine",
        "same first class, %",
        f"where it leads by {MARGIN}, %",
        "top-1, %",
        "outputs at an end, %",
    ),
    _float32,
    figures,
)
"""Of a network with one output, logits (N, classes)."""
