"""What int8 costs trained networks: each step of ours on and off, beside other quantizers, in real files.

    python -m benchmarks.int8_accuracy FOLDER [--cifar FILE.npz] [--only NAME ...]

Run from the repository's root, with a connection. It takes an hour, and writes the table into docs/int8.md where no
network is left out; what is there already is taken as it is. Networks and photos come from wheels, by
docs/examples/your_model/get.py, or from this package; float32 files from `mobilekit export`. Calibrated on the built-in
photos and measured on crops of others, ten of each of 20 photos; digits on those that the network was not trained on.
With CIFAR's pictures, which no package has, a GhostNetV2 is trained on 800 of them and measured on the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.int8_accuracy import others
from benchmarks.int8_accuracy.measure import MARGIN, by_litert, figures
from benchmarks.int8_accuracy.networks import CIFAR, FETCHED, LITE2, NETWORKS, Network, of_cifar
from benchmarks.tables import DOCS, ROOT, markdown, ran_on, write
from benchmarks.your_model import TOOLS
from mobilekit.convert.byte_inputs import with_bytes, without_bytes
from mobilekit.convert.tasks.quantize import Quantizer
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

STEPS: Mapping[str, dict[str, object]] = {
    "mobilekit, neither step": {"ranges": "min-max", "correct_bias": False},
    "mobilekit, `correct_bias` alone": {"ranges": "min-max", "correct_bias": True},
    "mobilekit, `ranges: chosen` alone": {"ranges": "chosen", "correct_bias": False},
    "mobilekit": {},
}
INT16 = "mobilekit, int16x8"


def export(name: str, network: Network, work: Path) -> Path:
    """Return the bundle of a network, which is made where it is not there yet."""
    bundle = work / name
    if not bundle.exists():
        network.module(work)  # trained, where it was not yet
        command = [
            sys.executable,
            "-m",
            "mobilekit",
            "export",
            *network.arguments,
            "--precision",
            "float32",
            "-o",
            name,
        ]
        paths = os.pathsep.join([str(ROOT), "own"])
        subprocess.run(command, cwd=work, env={**os.environ, "PYTHONPATH": paths}, check=True)
    return bundle


def rows(name: str, network: Network, work: Path) -> Iterator[list[str]]:
    """Yield the rows of a network."""
    bundle = export(name, network, work)
    recipe = Recipe.model_validate(open_bundle(bundle).manifest["recipe"]["content"])
    float32 = (bundle / "model.float32.tflite").read_bytes()
    pictures, calibration = network.pictures(work, recipe), network.calibration(work, recipe)
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
    for said, made in others.outputs(bundle, network, recipe, calibration, pictures.images):
        yield ["", said, *(["no file", *[""] * 5] if made is None else figures(made, wanted, pictures, None))]


def _fetch(work: Path) -> None:
    """Have what the networks are made of in the work folder."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "docs").exists():
        (work / "docs").symlink_to(DOCS)
    if not (work / "own" / FETCHED).exists():
        subprocess.run([sys.executable, str(DOCS / "examples/your_model/get.py"), "own", LITE2], cwd=work, check=True)


def main() -> None:
    """Make what lacks, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    given = parser.parse_args()
    work = given.work.absolute()
    _fetch(work)
    networks = NETWORKS | ({CIFAR: of_cifar(given.cifar.absolute())} if given.cifar else {})
    for name, network in networks.items():
        if name in (given.only or networks):
            (work / f"{name}.json").write_text(json.dumps([*rows(name, network, work)]))
    kept = [work / f"{name}.json" for name in networks]
    table = [row for path in kept if path.exists() for row in json.loads(path.read_text())]
    print(markdown(HEAD, table))
    if all(path.exists() for path in kept):
        write(PAGE, "int8_accuracy", f"{markdown(HEAD, table)}\n\n{ran_on(TOOLS)} Others: {others.VERSIONS}.")


if __name__ == "__main__":
    main()
