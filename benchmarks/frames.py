"""What scaling a frame inside a file costs, and how far it is from Pillow's: for docs/app.md.

Run from the repository's root: `python -m benchmarks.frames`. It converts a file that only scales for each row, and
GhostNet beside them. Times are the fastest of some runs in turns on one thread, so the least that a run takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.api import load_model
from mobilekit.models.analysis.macs import count_macs
from mobilekit.models.frame import BYTES, Frame
from mobilekit.models.normalization import normalize_inside
from mobilekit.recipes.inputs.builtin import EVALUATION_PHOTOS, photo_views
from mobilekit.recipes.inputs.preprocess import preprocess
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.pixels import pixels_of
from tests.converting import Converted

NETWORK, SIDE, RUNS = "ghostnet", 224, 60
ROWS = (
    ((448, 448), 1.0, "bilinear"),
    ((448, 448), 1.0, "bicubic"),
    ((672, 672), 1.0, "bilinear"),
    ((480, 640), 1.0, "bilinear"),
    ((480, 640), 0.875, "bilinear"),
    ((480, 640), 0.875, "bicubic"),
    ((720, 1280), 0.7, "bilinear"),
)
"""Frames, the share of them that is kept, and the filter."""
HEAD = (
    *("frame", "of it", "filter", "factor"),
    *("million multiplications", "of GhostNet's, %", "as dense matrices, million"),
    *("float32, ms", "int8, ms", "Pillow, ms"),
    *("from Pillow, levels: photos", "noise of black and white"),
)
PACKAGES = ("torch", "numpy", "pillow", "tensorflow", "onnx2tf", "ai-edge-litert")


def recipe_of(frame: tuple[int, int], crop: float, name: str) -> Recipe:
    """Return a recipe whose files scale a frame."""
    picture = {"size": SIDE, "frame": frame, "crop": crop, "resize": {"filter": name}}
    return Recipe(input=Input.model_validate(picture))


def dense_macs(frame: Frame) -> int:
    """Return the multiplications of two dense matrices, of three channels, the cheaper of two orders."""
    rows, columns = frame.rows, frame.columns
    first = columns.length * columns.size * rows.length + rows.length * rows.size * columns.size
    other = rows.length * rows.size * columns.length + columns.length * columns.size * rows.size
    return 3 * min(first, other)


def distances(recipe: Recipe, frame: Frame) -> Iterator[float]:
    """Yield the largest distance from Pillow's result, in levels of 255: of photos, and of black and white noise."""
    spec = recipe.input
    assert spec.frame
    photos = [preprocess(image, spec, name) for name, image in photo_views(EVALUATION_PHOTOS, 1)]
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 2, (3, *spec.frame)).astype(np.float32) * BYTES
    for pictures in (photos, [noise]):
        yield max(_from_pillow(frame, picture) for picture in pictures)


def _from_pillow(frame: Frame, picture: NDArray[np.float32]) -> float:
    x = torch.from_numpy(picture[None]).double()
    made = frame.scale(x, frame.constants(3))[0].numpy() * BYTES / frame.white
    theirs = by_pillow(frame, Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0).astype(np.uint8))))
    return float(np.abs(made - np.asarray(theirs, np.float64).transpose(2, 0, 1)).max())


def by_pillow(frame: Frame, image: Image.Image) -> Image.Image:
    """Return a picture of a frame's size, cropped and scaled as the frame is."""
    columns, rows = frame.columns, frame.rows
    end = (columns.start + columns.size * columns.step, rows.start + rows.size * rows.step)
    box = (float(columns.start), float(rows.start), float(end[0]), float(end[1]))
    return image.resize((columns.size, rows.size), Image.Resampling[frame.filter.upper()], box)


def files_of(model: nn.Module, shape: tuple[int, ...], folder: Path) -> list[Path]:
    """Return a model's float32 file and its int8 file."""
    folder.mkdir()
    converted = Converted(model, shape, folder)
    return [converted.float32, converted.int8(count=2)]


def fastest(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Return how long each takes at least, in milliseconds, in turns."""
    best = [float("inf")] * len(runs)
    for number in range(RUNS * len(runs)):
        turn = number % len(runs)
        start = time.perf_counter()
        runs[turn]()
        best[turn] = min(best[turn], 1e3 * (time.perf_counter() - start))
    return best


def opened(file: Path) -> Interpreter:
    """Return an interpreter of a file, ready to be run on one thread."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def times_of(frame: Frame, recipe: Recipe, network: list[Interpreter], folder: Path) -> list[float]:
    """Return how long scaling takes: the float32 file, the int8 file and Pillow; and a network's two files."""
    net = normalize_inside(nn.Identity(), pixels_of(recipe))
    own = [opened(file) for file in files_of(net, recipe.input.shape[1:], folder)]
    image = Image.effect_noise((frame.columns.length, frame.rows.length), 64).convert("RGB")
    return fastest(
        [*(each.invoke for each in own), lambda: by_pillow(frame, image), *(each.invoke for each in network)]
    )


def main() -> None:
    """Write the table."""
    model, rows, best = load_model(NETWORK), [], [float("inf")] * 2
    whole = count_macs(model, (1, 3, SIDE, SIDE))
    with TemporaryDirectory() as folder:
        network = [opened(file) for file in files_of(model, (3, SIDE, SIDE), Path(folder) / NETWORK)]
        for number, row in enumerate(ROWS):
            recipe = recipe_of(*row)
            frame = pixels_of(recipe).frame
            assert frame
            *own, float32, int8 = times_of(frame, recipe, network, Path(folder) / str(number))
            best = [min(best[0], float32), min(best[1], int8)]
            part = "x".join(str(round(axis.size * axis.step)) for axis in (frame.rows, frame.columns))
            macs = 3 * frame.multiplications
            cost = (f"{macs / 1e6:.1f}", f"{100 * macs / whole:.1f}", f"{dense_macs(frame) / 1e6:.0f}")
            levels = (f"{each:.2f}" for each in distances(recipe, frame))
            size = "{}x{}".format(*row[0])
            rows.append([size, part, row[2], str(frame.rows.step), *cost, *(f"{ms:.2f}" for ms in own), *levels])
    shares = [f"{whole / 1e6:.1f}", "100", "-", *(f"{ms:.2f}" for ms in best)]
    rows.append(["GhostNet itself", "-", "-", "-", *shares, "-", "-", "-"])
    write(DOCS / "app.md", "frames", "\n\n".join((markdown(HEAD, rows), ran_on(PACKAGES))))


if __name__ == "__main__":
    main()
