"""What the rewrites are worth in ExecuTorch: a model as it is and as an export lowers it, timed in turns in one run.

.venv/bin/python -m benchmarks.executorch make ghostnetv2 ghostnet timm:ghostnet_100 --work DIR
.venv/bin/python -m benchmarks.executorch time --work DIR --rounds 12
.venv/bin/python -m benchmarks.executorch table --work DIR [--write]

`make` lowers each model twice for XNNPACK with ExecuTorch's own partitioner: its PyTorch form as torch exports it, and
rewritten by its recipe, in the forms of an export; models of timm in their PyTorch form alone. `time` runs all of them
in rounds, one thread on one core, each file a process of its own in each round, the order drawn anew. Weights are
seeded; times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.tables import DOCS, markdown, ran_on, write
from mobilekit.artifacts.executorch.environment import versions
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.bench.engine import RunSettings
from mobilekit.bench.executorch_engine import ExecuTorchEngine
from mobilekit.bench.schedule import order_of_round
from mobilekit.convert.executorch.lower import lower
from mobilekit.convert.executorch.program import program_of
from mobilekit.jobs.source import Built, Source, build, recipe_of_model
from mobilekit.models.inputs import zeros
from mobilekit.models.names import NO_WEIGHTS, is_registered

PLAIN, REWRITTEN = "plain.pte", "rewritten.pte"
BESIDE = {"ghostnetv2": "timm:ghostnetv2_100", "ghostnet": "timm:ghostnet_100"}
"""Models of timm that users lower today, by those of ours that do the same."""
_TIMES = "times.json"


def make(names: Sequence[str], work: Path) -> None:
    """Lower models, those that are not there yet."""
    for name in names:
        folder = work / name.replace(":", "-")
        wanted = [file for file in (PLAIN, REWRITTEN) if file == PLAIN or is_registered(name)]
        if all((folder / file).exists() for file in wanted):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(name)
        built = build(Source(name, recipe_of_model(name), NO_WEIGHTS))
        for file in wanted:
            if not (folder / file).exists():
                print(f"lowering {name}, {file}", flush=True)
                _lower(built, file, folder)


def _lower(built: Built, file: str, folder: Path) -> None:
    shapes = built.source.recipe.recipe.shapes
    if file == PLAIN:
        with torch.no_grad():
            program = torch.export.export(built.reference.model.eval(), tuple(zeros(shapes).values()))
    else:
        program = program_of(built.rewritten(prove=False).graph, shapes)
    partial = folder / f"{file}.partial"
    lower(program, partial, folder, {})
    partial.rename(folder / file)


def time_all(work: Path, rounds: int) -> None:
    """Time all files that were made, in turns, and note the median of each round."""
    files = sorted(work.glob("*/*.pte"))
    engine, settings = ExecuTorchEngine(), RunSettings(runs=20, cpu_mask="1")
    times: dict[str, list[float]] = {str(file.relative_to(work)): [] for file in files}
    for number in range(rounds):
        for place in order_of_round(len(files), number, 0):
            run = engine.run(files[place], settings)
            assert run.latency_ms is not None, run.why_not
            times[str(files[place].relative_to(work))].append(run.latency_ms)
        found = {"on": ran_on(("mobilekit",)), "versions": versions(), "rounds": number + 1, "ms": times}
        (work / _TIMES).write_text(json.dumps(found, indent=1))
        print(f"round {number + 1} of {rounds}", flush=True)


def table(work: Path) -> str:
    """Return the figures as Markdown."""
    found = json.loads((work / _TIMES).read_text())
    head = ["model", "parts, as it is", "parts, rewritten", "as it is, ms", "rewritten, ms", "share"]
    head += ["timm's, ms", "share of timm's"]
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
        plain, rewritten = (_of(work, folder / file, times) for file in (PLAIN, REWRITTEN))
        beside = folders.get(BESIDE.get(name, ""))
        theirs = _of(work, beside / PLAIN, times) if beside else None
        parts = [len(read_pte(folder / file).parts) for file in (PLAIN, REWRITTEN)]
        yield [
            name,
            *map(str, parts),
            f"{statistics.median(plain):.1f}",
            f"{statistics.median(rewritten):.1f}",
            _share(rewritten, plain),
            f"{statistics.median(theirs):.1f}" if theirs else "",
            _share(rewritten, theirs) if theirs else "",
        ]


def _of(work: Path, file: Path, times: dict[str, list[float]]) -> list[float]:
    return times[str(file.relative_to(work))]


def _share(one: Sequence[float], other: Sequence[float]) -> str:
    """Return the median over rounds of the ratio of two."""
    return f"{statistics.median(a / b for a, b in zip(one, other, strict=True)):.2f}"


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
