"""What the rewrites are worth in ExecuTorch: a model as it is and its export's files, timed in turns in one run.

.venv/bin/python -m benchmarks.executorch make ghostnetv2 ghostnet timm:ghostnet_100 --work DIR
.venv/bin/python -m benchmarks.executorch time --work DIR --rounds 12
.venv/bin/python -m benchmarks.executorch table --work DIR [--write]

`make` lowers each model's PyTorch form as torch exports it for XNNPACK, with ExecuTorch's own partitioner, and exports
it to .pte and TFLite files in float32 and int8; models of timm in their PyTorch form alone. `time` runs all of them in
rounds, one thread on one core, each file a process of its own in each round, the order drawn anew: .pte files in
ExecuTorch, TFLite files in LiteRT. Weights are seeded; times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import mobilekit
from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.artifacts.executorch.environment import versions
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.bench.engine import Engine, RunSettings
from mobilekit.bench.executorch_engine import ExecuTorchEngine
from mobilekit.bench.litert_engine import LiteRTEngine
from mobilekit.bench.schedule import order_of_round
from mobilekit.convert.executorch.lower import lower
from mobilekit.jobs.build import build
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.inputs import zeros
from mobilekit.models.names import NO_WEIGHTS, is_registered

PLAIN, BUNDLE = "plain.pte", "bundle"
PRECISIONS = ["float32", "int8", "pte-float32", "pte-int8"]
PTE, PTE_INT8, TFLITE, TFLITE_INT8 = (
    f"{BUNDLE}/model.{name}" for name in ("float32.pte", "int8.pte", "float32.tflite", "int8.tflite")
)
BESIDE = {"ghostnetv2": "timm:ghostnetv2_100", "ghostnet": "timm:ghostnet_100"}
"""Models of timm that users lower today, by those of ours that do the same."""
_TIMES = "times.json"


def make(names: Sequence[str], work: Path) -> None:
    """Make the files of models, those that are not there yet."""
    for name in names:
        folder = work / name.replace(":", "-")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(name)
        if not (folder / PLAIN).exists():
            print(f"lowering {name} as it is", flush=True)
            _lower(name, folder)
        if is_registered(name) and not (folder / BUNDLE).exists():
            print(f"exporting {name}", flush=True)
            mobilekit.export(name, weights=NO_WEIGHTS, precision=PRECISIONS, output=folder / BUNDLE)


def _lower(name: str, folder: Path) -> None:
    recipe = recipe_of_model(name)
    model = build(Source(name, recipe, NO_WEIGHTS)).reference.model.eval()
    with torch.no_grad():
        program = torch.export.export(model, tuple(zeros(recipe.recipe.shapes).values()))
    partial = folder / f"{PLAIN}.partial"
    lower(program, partial, folder, {})
    partial.rename(folder / PLAIN)


def time_all(work: Path, rounds: int) -> None:
    """Time all files that were made, in turns, and note the median of each round."""
    files = [*sorted(work.glob("**/*.pte")), *sorted(work.glob("**/*.tflite"))]
    engines: Mapping[str, Engine] = {".pte": ExecuTorchEngine(), ".tflite": LiteRTEngine()}
    settings = RunSettings(runs=20, cpu_mask="1")
    times: dict[str, list[float]] = {str(file.relative_to(work)): [] for file in files}
    for number in range(rounds):
        for place in order_of_round(len(files), number, 0):
            run = engines[files[place].suffix].run(files[place], settings)
            assert run.latency_ms is not None, run.why_not
            times[str(files[place].relative_to(work))].append(run.latency_ms)
        found = {
            "on": ran_on(("mobilekit", "ai-edge-litert")),
            "versions": versions(),
            "rounds": number + 1,
            "ms": times,
        }
        (work / _TIMES).write_text(json.dumps(found, indent=1))
        print(f"round {number + 1} of {rounds}", flush=True)


def table(work: Path) -> str:
    """Return the figures as Markdown."""
    found = json.loads((work / _TIMES).read_text())
    head = ["model", "parts, as it is", "parts", "as it is, ms", ".pte, ms", "share", "timm's, ms", "share of timm's"]
    head += [".pte int8, ms", "share of .pte", ".tflite, ms", ".pte / .tflite", ".tflite int8, ms"]
    rows = [*_rows(work, found["ms"])]
    tools = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    how = f"medians of {found['rounds']} rounds in turns, one thread on one core"
    said = f"Measured {found['on'].rstrip('.')}; {tools}; {how}."
    return f"{said}\n\n{markdown(head, rows)}"


def _rows(work: Path, times: dict[str, list[float]]) -> Iterator[list[str]]:
    folders = {(folder / "name").read_text(): folder for folder in sorted(work.iterdir()) if (folder / "name").exists()}
    for name, folder in folders.items():
        if not is_registered(name):
            continue
        beside = folders.get(BESIDE.get(name, ""))

        def of(file: str, folder: Path | None = folder) -> list[float] | None:
            return times.get(str((folder / file).relative_to(work))) if folder else None

        plain, ours, theirs, int8 = of(PLAIN), of(PTE), of(PLAIN, beside), of(PTE_INT8)
        parts = [str(len(read_pte(folder / file).parts)) for file in (PLAIN, PTE)]
        yield [
            *[name, *parts, _median(plain), _median(ours), _share(ours, plain), _median(theirs), _share(ours, theirs)],
            *[_median(int8), _share(int8, ours)],
            *[_median(of(TFLITE)), _share(ours, of(TFLITE)), _median(of(TFLITE_INT8))],
        ]


def _median(times: Sequence[float] | None) -> str:
    return f"{statistics.median(times):.1f}" if times else ""


def _share(one: Sequence[float] | None, other: Sequence[float] | None) -> str:
    """Return the median over rounds of the ratio of two."""
    return f"{statistics.median(a / b for a, b in zip(one, other, strict=True)):.2f}" if one and other else ""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    does: Any = parser.add_subparsers(dest="does", required=True)
    for word in ("make", "time", "table"):
        each = does.add_parser(word)
        each.add_argument("--work", type=Path, required=True)
        if word == "make":
            each.add_argument("names", nargs="+")
        elif word == "time":
            each.add_argument("--rounds", type=int, default=12)
        else:
            each.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.does == "make":
        make(given.names, given.work)
    elif given.does == "time":
        time_all(given.work, given.rounds)
    elif given.write:
        write(DOCS / "executorch.md", "executorch", table(given.work))
    else:
        print(table(given.work))


if __name__ == "__main__":
    main()
