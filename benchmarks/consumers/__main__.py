"""Who else reads our files, and what comes of it: every consumer on every file of bundles, with a row on disk for each.

    python -m benchmarks.consumers run BUNDLE... --work FOLDER [--consumers MODULE ...] [--again]
    python -m benchmarks.consumers table --work FOLDER [--write]

Each consumer has an environment of its own below the folder, which is made with its pinned packages where it is not
there, and each file a process of its own. What has a row is not done again, unless `--again` asks for it, so that a run
goes on where it was stopped. The tables have what docs/consumers.md says where the folder has no row, so that one
consumer can be measured anew alone; `--write` puts them there.

Outputs are compared with LiteRT's of the same file, those of a quantized ONNX file with ONNX Runtime's of it without
its rewrites, and those of another ONNX file, of a .pte file or of a PyTorch program with LiteRT's of the float32 file,
on four of the recipe's evaluation inputs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import processes, tables, venvs
from benchmarks.consumers import node
from benchmarks.consumers.catalogue import CONSUMERS, Consumer
from benchmarks.consumers.kept import with_kept
from benchmarks.consumers.programs import PROGRAMS, program_of
from benchmarks.consumers.report import document
from benchmarks.coverage.outcomes import last_words
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.open import open_artifact
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.parity.ledger.metrics import compare
from mobilekit.recipes.inputs.builtin import evaluation_inputs
from mobilekit.store.bundle import open_bundle
from mobilekit.store.files import sha256_of, write_json
from mobilekit.store.stages import Stage

Row = dict[str, Any]
Array = NDArray[Any]
INPUTS = 4


def measure(consumer: Consumer, bundle: Path, path: Path, work: Path) -> Row:
    """Have a consumer open and run one file of a bundle, or a program of its model, and return its row."""
    given, reference, runtime = _prepared(bundle, path)
    cost, said, made = _run(consumer, path, given, work)
    row: Row = {
        "consumer": consumer.name,
        "model": bundle.name,
        "file": path.name,
        "sha256": sha256_of(path),
        "packages": list(consumer.packages + consumer.alone + consumer.npm),
        "date": datetime.date.today().isoformat(),
        "seconds": cost.cpu,
    }
    if cost.is_over:
        return {**row, "refused": f"more than {consumer.limit:.0f} s of processor time"}
    if cost.code:
        return {**row, "refused": _reason(consumer, said, cost.code)}
    if consumer.tells and (told := re.search(consumer.tells, said)):
        row["told"] = told[0]
    if consumer.compiles:
        return row
    assert made is not None
    found = runtime.decoded(made, runtime.outputs[0]) if runtime else made
    compared = compare(reference, found.reshape(reference.shape).astype(np.float32))
    return {**row, "cosine": compared.cosine, "max_abs": compared.max_abs, "relative_l2": compared.relative_l2}


def _run(consumer: Consumer, path: Path, given: Array, work: Path) -> tuple[processes.Cost, str, Array | None]:
    """Have a consumer run a file on inputs, and return what that cost, what it said, and its outputs."""
    python = venvs.make(work / "environments" / consumer.environment, consumer.packages, consumer.alone)
    node.add(python.parents[1], consumer.npm)
    log = work / "logs" / f"{path.parent.name}.{path.name}.{consumer.module}"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    with TemporaryDirectory(dir=work) as name:  # what consumers make of a file is larger than the file
        inputs, outputs = Path(name) / "inputs.npy", Path(name) / "outputs.npy"
        np.save(inputs, given)
        run = {"run": {"file": str(path), "inputs": str(inputs), "outputs": str(outputs)}}
        request = {"convert": {"file": str(path)}} if consumer.compiles else run
        words = [str(python), "-m", f"benchmarks.consumers.{consumer.module}_consumer", json.dumps(request)]
        cost = processes.run(words, Path(name), log, processes.variables(), consumer.limit, every=0.1)
        made = np.load(outputs) if outputs.exists() else None
    return cost, log.read_text(errors="replace"), made


def _reason(consumer: Consumer, said: str, code: int) -> str:
    """Return why a consumer refused a file, in its own words."""
    cause = re.search(consumer.cause, said, re.MULTILINE) if consumer.cause else None
    return cause[0] if cause else last_words(said, code)


def _prepared(bundle: Path, path: Path) -> tuple[Array, Array, LiteRTRuntime | None]:
    """Return the inputs as a file takes them, what should come of them, and LiteRT, which can decode outputs."""
    recipe = recipe_of_bundle(open_bundle(bundle)).recipe
    inputs = {name: array[:INPUTS] for name, array in evaluation_inputs(recipe).inputs.items()}
    if path.suffix != ".tflite":
        is_quantized = path.name in (Stage.ONNX_INT8.file, Stage.ONNX_INT16X8.file)
        near = path if is_quantized else bundle / Stage.TFLITE_FLOAT32.file
        [given], [reference] = inputs.values(), open_artifact(near, {}).run(inputs).values()
        return given, reference, None
    runtime = LiteRTRuntime(path)
    [reference] = runtime.run(inputs).values()
    return np.concatenate([one for [one] in runtime.encoded(inputs)]), reference, runtime


def file_of(bundle: Path, file: str, work: Path) -> Path:
    """Return the path of a bundle's file, or of a program of its model, which is made for it."""
    return program_of(bundle, file, work / "programs") if file in PROGRAMS else bundle / file


def rows_of(work: Path) -> list[Row]:
    """Return all rows of consumers and files that are still asked for."""
    rows: list[Row] = [json.loads(path.read_text()) for path in sorted((work / "rows").glob("*.json"))]
    asked = {(each.name, file) for each in CONSUMERS for file in each.files}
    return [row for row in rows if (row["consumer"], row["file"]) in asked]


def run(options: argparse.Namespace) -> None:
    """Measure what has no row yet: one consumer after the other."""
    (options.work / "rows").mkdir(parents=True, exist_ok=True)
    for consumer in CONSUMERS:
        if consumer.module not in options.consumers:
            continue
        for bundle in options.bundles:
            for file in consumer.files:
                path = file_of(bundle.absolute(), file, options.work)
                place = options.work / "rows" / f"{consumer.module}.{bundle.name}.{file}.json"
                if path.is_file() and (options.again or not place.exists()):
                    row = measure(consumer, bundle.absolute(), path, options.work)
                    write_json(place, row)
                    told = {key: row[key] for key in ("refused", "cosine", "max_abs", "told") if key in row}
                    print(f"{consumer.name}, {bundle.name}, {file}: {told}", flush=True)


def main() -> None:
    """Run, or make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    modules = [each.module for each in CONSUMERS]
    parser.add_argument("--consumers", nargs="+", choices=modules, default=modules, metavar="MODULE")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.work = options.work.absolute()
    if options.action == "run":
        run(options)
        return
    page = tables.DOCS / "consumers.md"
    text = document(with_kept(rows_of(options.work), page.read_text()))
    if options.write:
        tables.write(page, "consumers", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
