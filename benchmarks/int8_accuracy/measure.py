"""Pictures to measure on, and what is measured of a file's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


def by_litert(content: bytes, images: Arrays) -> tuple[Arrays, float]:
    """Return what a TFLite file gives, float32 (N, classes), and the share of numbers at an end of their format."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in images:
        interpreter.set_tensor(taken["index"], image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"])[0])
    made = np.stack(rows)
    if made.dtype == np.float32:
        return made, 0.0
    (scale, zero), ends = given["quantization"], np.iinfo(made.dtype)
    return (made.astype(np.float32) - zero) * np.float32(scale), float(np.isin(made, (ends.min, ends.max)).mean())


def figures(made: Arrays, wanted: Arrays, pictures: Pictures, at_ends: float | None) -> list[str]:
    """Return the cells of a row; the error of the agreement is clustered by photo."""
    errors = np.linalg.norm(made - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    cosines = (made * wanted).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(wanted, axis=1)
    same = made.argmax(1) == wanted.argmax(1)
    leads = np.sort(wanted, 1)
    leads_clearly = leads[:, -1] - leads[:, -2] > MARGIN
    of_photos = np.array([same[pictures.photos == photo].mean() for photo in np.unique(pictures.photos)])
    deviation = of_photos.std(ddof=1) / np.sqrt(len(of_photos))
    return [
        f"{errors.mean():.3f}",
        f"{cosines.min():.3f}",
        f"{same.mean():.1%} ± {deviation:.1%}".replace("%", ""),
        f"{same[leads_clearly].mean() * 100:.1f}",
        f"{(made.argmax(1) == pictures.labels).mean() * 100:.1f}",
        "" if at_ends is None else f"{at_ends * 100:.2f}",
    ]
