"""What a sweep costs beside its steps: cells that do nothing, and small cells beside the commands by hand.

.venv/bin/python -m benchmarks.sweeps cells --cells 10000    # schedule cells that do nothing: time and memory
.venv/bin/python -m benchmarks.sweeps overhead --cells 4     # the same steps by hand, by one process, by two
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.tables import ROOT, ran_on
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.cluster import open_cluster
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.rows import read_rows
from mobilekit.sweep.run import run_cells
from mobilekit.sweep.steps import Task

NET = ROOT / "tests" / "tiny.py"
RECIPE = ROOT / "tests" / "data" / "tiny.yaml"


def nothing(task: Task) -> dict[str, Any]:
    """Do nothing."""
    return {}


def cells(count: int, folder: Path) -> None:
    """Run cells of three steps each that do nothing, and print what that took."""
    sweep = SweepFolder(folder)
    sweep.begin({}, resume=False)
    asked = [
        Cell("nothing", {"number": number}, precisions=("float32",), device="adb:A", diff=True)
        for number in range(count)
    ]
    memory: list[tuple[int, float]] = []
    process, done = psutil.Process(), 0

    def told(message: str) -> None:
        nonlocal done
        done += ": bench" in message
        if ": bench" in message and done in (count // 10, count):
            memory.append((done, process.memory_info().rss / 2**20))

    with open_cluster(workers=2) as cluster:
        before, began = process.memory_info().rss / 2**20, time.monotonic()
        summary = run_cells(asked, sweep, "/", cluster, told, nothing)
        seconds = time.monotonic() - began
    assert len(summary.failed) == count  # as none of them has a bundle
    began = time.monotonic()
    assert len(read_rows(sweep.rows)) == count
    print(f"{count} cells of 3 steps in {seconds:.1f} s: {1e3 * seconds / count:.1f} ms a cell")
    print(
        f"memory of scheduler and client: {before:.0f} MB before, "
        + ", ".join(f"{m:.0f} MB after {n}" for n, m in memory)
    )
    print(f"rows read in {time.monotonic() - began:.1f} s")
    print(ran_on(("distributed", "pyarrow")))


def overhead(count: int, folder: Path) -> None:
    """Run export, diff and inspect of a small net at several sizes by hand, by one process and by two."""
    sizes = range(24, 24 + 8 * count, 8)
    sweep = folder / "sweep.yaml"
    sweep.write_text(
        f"matrix:\n  models: ['{NET}:make_tiny']\n  recipes: ['{RECIPE}']\n"
        f"  input_sizes: {[*sizes]}\n  precisions: [float32]\n  targets: [cpu]\n"
    )
    by_hand = [command for size in sizes for command in _by_hand(size, folder)]
    of_sweep = {
        workers: [["sweep", "run", str(sweep), "-o", str(folder / f"by{workers}"), "--workers", str(workers)]]
        for workers in (1, 2)
    }
    wall, processor = {}, {}
    for name, commands in {"by hand": by_hand, "one process": of_sweep[1], "two processes": of_sweep[2]}.items():
        wall[name], processor[name] = _run(commands, folder / name.replace(" ", "-"))
        print(f"{name}: {wall[name]:.1f} s, {processor[name]:.1f} s of processor time", flush=True)
    print(f"one process beside by hand: {processor['one process'] / processor['by hand'] - 1:+.1%} of processor time,")
    print(f"  {wall['one process'] / wall['by hand'] - 1:+.1%} of time")
    print(f"two processes make {wall['one process'] / wall['two processes']:.2f} times the cells an hour of one")
    print(ran_on(("distributed", "pyarrow")), f"Load {os.getloadavg()[0]:.1f}.")


def _by_hand(size: int, folder: Path) -> list[list[str]]:
    bundle = str(folder / f"hand-{size}")
    model, recipe = f"{NET}:make_tiny", str(RECIPE)
    shape = ["--input-size", str(size), "--precision", "float32", "--jobs", "1"]
    return [
        ["export", model, "--recipe", recipe, *shape, "-o", bundle],
        ["diff", bundle, "--reference", model],
        ["inspect", bundle, "--target", "cpu"],
    ]


def _run(commands: list[list[str]], cache: Path) -> tuple[float, float]:
    """Run commands of mobilekit with a cache of their own; return the seconds by the clock and of the processor."""
    environment = {**os.environ, "MOBILEKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    before, began = _processor(), time.monotonic()
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "mobilekit", *command], env=environment, check=True, capture_output=True, cwd=ROOT
        )
    return time.monotonic() - began, _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cells", "overhead"))
    parser.add_argument("--cells", type=int, default=4)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="sweeps-") as folder:
        {"cells": cells, "overhead": overhead}[given.what](given.cells, Path(folder))


if __name__ == "__main__":
    main()
