"""Which share of vision models comes out right: every network in every way, with a row on disk for each.

    python -m benchmarks.coverage run --work FOLDER [--ways NAME ...] [--models NAME ...] [--litert-torch PYTHON]
        [--limit 300] [--again not-right|outdated]
    python -m benchmarks.coverage table --work FOLDER [--litert-torch PYTHON] [--write]

A conversion has a process of its own. What has a row is not done again, unless it is asked for: `not-right` measures
anew what did not come out right, and `outdated` what mobilekit's sources have changed under. The run can be stopped at
any time, and goes on with what has no row. A conversion that takes more processor time than the limit is stopped, and
its row says so. Python needs timm, transformers and an export's tools; litert-torch, which asks for other versions, is
run by the Python that is named. `--write` puts the tables into docs/coverage.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.coverage.judge import judge_files
from benchmarks.coverage.networks import MODELS
from benchmarks.coverage.outcomes import Row, outcomes, passed
from benchmarks.coverage.prepare import check_inputs, write_inputs
from benchmarks.coverage.report import document
from benchmarks.coverage.ways import WAYS, Job, Way, python_of
from mobilekit.store.files import write_json
from mobilekit.store.versions import BUNDLE_ROOMS, source_digest

DOCS = processes.ROOT / "docs" / "coverage.md"


def prepare(model: str, work: Path) -> Path:
    """Return the folder of what every way is given, which is made once, and anew where the network has changed.

    Raises:
        SystemExit: There is no such network to be had, or its outputs say nothing.
    """
    folder = work / "prepared" / model
    if not (folder / "calibration.npy").exists() or _apart(check_inputs, model, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if _apart(write_inputs, model, folder):
            raise SystemExit(f"{model} could not be prepared.")
    return folder


def _apart(function: Callable[..., None], *arguments: Any) -> int:
    """Call a function in a process of its own, which has its imports already, and return that one's exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([judge_files.__module__, write_inputs.__module__])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode or 0


def measure(job: Job, way: Way, python: str, limit: float) -> Row:
    """Convert one network in one way, and judge what came out."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if way.is_ours:
        _remove(job, way)
    log = job.folder / f"{way.name}.log"
    log.unlink(missing_ok=True)
    spent, cost, before = 0.0, processes.Cost(0, 0.0, 0.0, 0.0), set[str]()
    for command in way.commands(job, python):
        before = set(_files(job, way))
        cost = processes.run(command, job.folder, log, processes.variables(), limit - spent, every=0.1)
        spent += cost.cpu
        if cost.code:
            break
    ledger = job.folder / way.precision / "ledger.json"
    if way.is_ours and ledger.exists():
        before = passed(json.loads(ledger.read_text()))
    judged = _judged(job, _files(job, way))
    found = outcomes(way, cost, log.read_text(errors="replace"), judged, before if cost.code else set(), limit)
    if way.is_ours and all(each["outcome"] == "right" for each in found.values()):
        _remove(job, way)
    return {
        "model": job.model,
        "way": way.name,
        "cpu": spent,
        "mb": cost.memory_mb,
        "date": datetime.date.today().isoformat(),
        "sources": source_digest(BUNDLE_ROOMS) if way.is_ours else "",
        "outcomes": found,
    }


def _files(job: Job, way: Way) -> dict[str, Path]:
    """Return the files that are there, by format."""
    paths = {precision: job.folder / file for precision, file in way.files.items()}
    return {precision: path for precision, path in paths.items() if path.exists()}


def _judged(job: Job, files: dict[str, Path]) -> dict[str, Any]:
    """Return what `judge` finds of files; one that ends its process is judged by that."""
    reply = job.folder / "judged.json"
    code = _apart(judge_files, files, job.prepared, reply)
    if not code:
        found: dict[str, Any] = json.loads(reply.read_text())
        return found
    if len(files) > 1:
        return {name: each for one in files.items() for name, each in _judged(job, dict([one])).items()}
    return {name: {"right": False, "why_not": f"to run it ends the process with {code}"} for name in files}


def _remove(job: Job, way: Way) -> None:
    """Remove the bundle of a way of ours; the files of others are what their int8 is made of."""
    for file in way.files.values():
        shutil.rmtree((job.folder / file).parent, ignore_errors=True)


def is_done(path: Path, again: str | None) -> bool:
    """Return whether a row is there that is not asked for anew."""
    if not path.exists():
        return False
    row: Row = json.loads(path.read_text())
    if again == "not-right":
        return all(each["outcome"] == "right" for each in row["outcomes"].values())
    return again != "outdated" or row["sources"] in ("", source_digest(BUNDLE_ROOMS))


def run(options: argparse.Namespace) -> None:
    """Measure what is not measured yet: one way of all networks after the other."""
    ways = [way for way in WAYS if way.name in options.ways]
    for way in ways:
        python = python_of(way, options.litert_torch)
        for model in options.models:
            path = options.work / "rows" / f"{model}.{way.name}.json"
            if is_done(path, options.again):
                continue
            try:
                prepared = prepare(model, options.work)
            except SystemExit as error:
                print(error, flush=True)
                continue
            row = measure(Job(model, prepared, options.work / "files" / model / way.tool), way, python, options.limit)
            path.parent.mkdir(exist_ok=True)
            write_json(path, row)
            told = {name: f"{each['outcome']}: {each['reason']}" for name, each in row["outcomes"].items()}
            print(f"{model} by {way.name}, {row['cpu']:.0f} s: {told}", flush=True)


def rows_of(work: Path) -> list[Row]:
    """Return all rows of networks and ways that are still measured."""
    rows: list[Row] = [json.loads(path.read_text()) for path in sorted((work / "rows").glob("*.json"))]
    return [row for row in rows if row["model"] in MODELS]


def main() -> None:
    """Run, or make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ways", nargs="+", choices=[way.name for way in WAYS], default=["mobilekit-float32"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME")
    parser.add_argument("--litert-torch", metavar="PYTHON")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of processor time")
    parser.add_argument("--again", choices=("not-right", "outdated"))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.work = options.work.absolute()
    if options.action == "run":
        run(options)
        return
    text = document(rows_of(options.work), options.litert_torch, options.limit)
    print(text)
    if options.write:
        DOCS.write_text(text)


if __name__ == "__main__":
    main()
