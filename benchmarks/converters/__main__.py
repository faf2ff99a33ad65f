"""Which way of converting is the fastest right one: every way on every network, a process a step.

    python -m benchmarks.converters --work FOLDER --python PREPARING --way NAME=KIND:PYTHON ... [--models ...]
        [--measured] [--write]

Kinds of ways: `keras` (onnx2tf's graph in Keras, then TensorFlow's converter and quantizer, as mobilekit converts),
`direct-litert` (onnx2tf's direct writer, then litert-quantizer) and `direct-tensorflow` (the same writer, then our own
float16 and dynamic range, and TensorFlow's quantizer). Each needs a Python that has its tools; a network is prepared by
one with PyTorch and timm, and files are opened by the one of `--litert`. What is done is not done again; a row of each
network and way lies in FOLDER/rows. `--write` puts the table into docs/converters.md.

Processor time is of the processes that convert, their children included; memory is the largest sum of their resident
sizes, seen every 20 ms.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.converters.networks import MODELS
from benchmarks.converters.report import FORMATS, table
from benchmarks.processes import ROOT, Cost
from mobilekit.store.files import sha256_of, sha256_of_json, write_json

DOCS = ROOT / "docs" / "converters.md"
_PLAIN = {"ranges": "min-max", "correct_bias": False, "io": "int8"}
"""Of an int8 file, so that the ways differ in what quantizes and not in the ranges."""
SOURCES = (
    *(f"benchmarks/converters/{name}.py" for name in ("ways", "direct")),
    *(f"mobilekit/convert/{name}.py" for name in ("depthwise", "weights", "unread")),
    *(f"mobilekit/convert/direct/{name}.py" for name in ("writer", "lost", "products", "shapes", "transposes")),
)


@dataclass(frozen=True)
class Way:
    """A way of converting, and the Python that has its tools."""

    name: str
    kind: str
    python: str


def run(python: str, module: str, arguments: list[str], folder: Path) -> Cost:
    """Run a module of this package to its end."""
    log = folder / f"{module}.log"
    command = [python, "-W", "ignore", "-m", f"benchmarks.converters.{module}", *arguments]
    cost = processes.run(command, folder, log, processes.variables())
    last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:] or [""]
    problem = f"{module} ended with {cost.code}: {last[0][:200]}" if cost.code else None
    return replace(cost, problem=problem)


def prepare(model: str, python: str, work: Path) -> Path:
    """Return the folder of what every way is given, which is made once."""
    folder = work / model
    if not (folder / "prepared.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        cost = run(python, "prepare", [model, str(folder)], folder)
        if cost.problem:
            raise SystemExit(cost.problem)
    return folder


def convert(way: Way, prepared: Path, folder: Path, preparing: str) -> tuple[list[Cost], dict[str, str]]:
    """Make the four files, and return what each process cost and what failed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(prepared / "model.onnx", folder / "model.onnx")
    settings = json.loads((prepared / "prepared.json").read_text())["int8"]
    files = {precision: str(folder / f"model.{precision}.tflite") for precision in FORMATS}
    is_mixed = bool(settings["float_modules"])
    request: dict[str, Any] = {
        "way": way.kind,
        "onnx": str(folder / "model.onnx"),
        "saved_model": str(folder / "saved_model"),
        "files": {name: path for name, path in files.items() if not (is_mixed and name == "int8")},
        "begun": str(folder / "begun"),
        "calibration": str(prepared / "calibration.npz"),
        "settings": {**settings, **_PLAIN},
        "reply": str(folder / "convert.json"),
    }
    costs, failed = _step("convert", request, way, folder)
    if is_mixed and Path(files["float32"]).exists():
        names = folder / "float_tensors.json"
        aligned = run(preparing, "align", [str(prepared), files["float32"], str(names)], folder)
        if aligned.problem:
            return [costs], {**failed, "int8": aligned.problem}
        tensors = json.loads(names.read_text())
        more = {"float32": files["float32"], "int8": files["int8"], "float_tensors": tensors}
        cost, problems = _step("quantize", {**request, **more, "reply": str(folder / "quantize.json")}, way, folder)
        return [costs, cost], {**failed, **problems}
    return [costs], failed


def _step(step: str, request: dict[str, Any], way: Way, folder: Path) -> tuple[Cost, dict[str, str]]:
    path = folder / f"{step}.request.json"
    write_json(path, request)
    cost = run(way.python, "ways", [step, str(path)], folder)
    if cost.problem:
        return cost, {step: cost.problem}
    failed = json.loads(Path(request["reply"]).read_text()).get("failed", {})
    return cost, {name: said if isinstance(said, str) else str(said.get("error")) for name, said in failed.items()}


def measure(model: str, way: Way, options: argparse.Namespace) -> None:
    """Convert a network in one way and write its row, unless that is done."""
    prepared = prepare(model, options.python, options.work)
    row = options.work / "rows" / f"{model}.{way.name}.json"
    sources = {name: _code(ROOT / name) for name in SOURCES if way.kind != "keras"}
    key = sha256_of_json({"onnx": sha256_of(prepared / "model.onnx"), "way": [way.kind, way.python], **sources})
    if row.exists() and json.loads(row.read_text())["key"] == key:
        return
    print(f"{model} by {way.name}", flush=True)
    folder = options.work / "files" / model / way.name
    costs, failed = convert(way, prepared, folder, options.python)
    reply = folder / "measured.json"
    measured = run(options.litert, "measure", [str(prepared), str(folder), str(reply)], folder)
    found = {} if measured.problem else json.loads(reply.read_text())
    if measured.problem:
        failed["measure"] = measured.problem
    shutil.rmtree(folder / "saved_model", ignore_errors=True)
    row.parent.mkdir(exist_ok=True)
    content = {"key": key, "model": model, "way": way.name, "failed": failed, "files": found}
    totals = {
        "cpu": sum(c.cpu for c in costs),
        "wall": sum(c.wall for c in costs),
        "mb": max(c.memory_mb for c in costs),
    }
    write_json(row, {**content, **totals})
    shown = {name: f"{one['photos']['l2']:.2g}" if "photos" in one else one for name, one in found.items()}
    print(f"  {totals['cpu']:.1f} s, {totals['mb']:.0f} MB, {shown} {failed or ''}", flush=True)


def _code(path: Path) -> str:
    """Return the digest of a file's code, whatever its layout."""
    return hashlib.sha256(ast.dump(ast.parse(path.read_text())).encode()).hexdigest()


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--python", required=True, help="prepares networks and aligns files")
    parser.add_argument("--litert", required=True, help="opens and runs the files")
    parser.add_argument("--way", action="append", required=True, metavar="NAME=KIND:PYTHON")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--measured", action="store_true", help="only make the table of what is measured already")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.work = options.work.absolute()
    words = [word.replace("=", ":", 1).split(":", 2) for word in options.way]
    ways = [Way(*each) for each in words]
    for model in () if options.measured else options.models:
        for way in ways:
            measure(model, way, options)
    rows = [json.loads(path.read_text()) for path in sorted((options.work / "rows").glob("*.json"))]
    text = table(rows, {way.name: (way.kind, way.python) for way in ways}, options.litert)
    print(text)
    if options.write:
        DOCS.write_text(text)


if __name__ == "__main__":
    main()
