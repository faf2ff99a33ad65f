"""The figures of docs/your-model.md: the commands of that page, run in a folder, and what their bundles hold.

Run from the repository's root, with a network: `python -m benchmarks.your_model FOLDER`. It takes some minutes, and
writes the table into the page; a bundle that is there already is taken as it is.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command_blocks import command_blocks
from benchmarks.tables import DOCS, ROOT, markdown, ran_on, write
from mobilekit.artifacts.open import open_artifact
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.store.bundle import open_bundle, output_layouts

PAGE = DOCS / "your-model.md"
STAGES = ("onnx-simplified", "tflite-float32", "tflite-float16", "tflite-dynamic", "tflite-int8")
HEAD = ("model", "figure", "reference", "ONNX", "float32", "float16", "dynamic", "int8")
FACES = {"pnet": (0.6, "own/photos"), "rnet": (0.7, "own/crops_test.npz")}
"""Score from which on MTCNN's own code takes something for a face, and what the network is measured on."""
TOOLS = ("torch", "onnx2tf", "ai-edge-litert", "onnxruntime")


def commands() -> list[list[str]]:
    """Return the words of each command of the page, in their order."""
    return [words for block in command_blocks(PAGE) for words in block.commands]


def prepare(folder: Path) -> dict[str, str]:
    """Make a folder in which the page's paths lead somewhere, and return the environment for its commands."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "docs").exists():
        (folder / "docs").symlink_to(DOCS)
    paths = [str(ROOT), "own", *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def as_run(words: list[str]) -> list[str]:
    """Return a command of the page with this Python: `python` and `mobilekit` need not be on PATH."""
    return [sys.executable, *(["-m", "mobilekit"] if words[0] == "mobilekit" else []), *words[1:]]


def kept(bundle: Path, folder: Path) -> list[str]:
    """Return how many faces the first file of a bundle finds, and the share of these that each stage finds too."""
    least, inputs = FACES[bundle.name]
    found = open_bundle(bundle)
    arrays = read_evaluation(recipe_of_bundle(found).recipe, folder / inputs).inputs
    truth = _scores(bundle / "stages" / "unsimplified.onnx", bundle, arrays) > least
    made = (_scores(bundle / _file(stage), bundle, arrays)[truth] for stage in STAGES)
    return [f"of {truth.sum()}", *(f"{100 * float((scores > least).mean()):.1f}" for scores in made)]


def _scores(file: Path, bundle: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = open_artifact(file, output_layouts(bundle)).run(arrays)["faces"][:, 1]
    return scores


def _file(stage: str) -> str:
    return "model.onnx" if stage.startswith("onnx") else f"model.{stage.removeprefix('tflite-')}.tflite"


def rows_of(bundle: Path, folder: Path) -> Iterator[list[str]]:
    """Yield the table's rows of a bundle."""
    ledger = json.loads((bundle / "ledger.json").read_text())
    rows = [row for row in ledger["stages"] if row["against"] == "reference" and row["stage"] in STAGES]
    outputs = list(dict.fromkeys(row["output"] for row in rows))
    for output in outputs:
        own = {row["stage"]: row for row in rows if row["output"] == output}
        name = f" of {output}" if len(outputs) > 1 else ""
        if own["tflite-int8"].get("top1") is not None:
            reference = ledger["reference_top1"]
            yield ["top-1, %", f"{100 * reference:.1f}", *(f"{100 * own[stage]['top1']:.1f}" for stage in STAGES)]
        yield [f"relative L2{name}", "", *(f"{own[stage]['relative_l2']:.1e}" for stage in STAGES)]
        yield [f"worst cosine{name}", "", *(f"{own[stage]['cosine']:.5f}" for stage in STAGES)]
    if bundle.name in FACES:
        yield ["faces kept, %", *kept(bundle, folder)]
    files = ledger["artifacts"]
    yield ["XNNPACK partitions", "", "", *(str(files[_file(stage)]["partitions"]) for stage in STAGES[1:])]


def main(folder: Path) -> None:
    """Run the page's commands, and write its table."""
    environment, bundles = prepare(folder), []
    for words in commands():
        made = Path(words[words.index("-o") + 1]) if "export" in words else None
        if made is None or not (folder / made / "ledger.json").exists():
            print(shlex.join(words))
            subprocess.run(as_run(words), cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        bundles += [folder / made] if made else []
    rows = [
        [bundle.name if not number else "", *row]
        for bundle in bundles
        for number, row in enumerate(rows_of(bundle, folder))
    ]
    write(PAGE, "your_model", f"{markdown(HEAD, rows)}\n\n{ran_on(TOOLS)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
