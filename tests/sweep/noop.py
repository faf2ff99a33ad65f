"""Steps for tests of sweeps that do little, with a bundle of long ago: dask's workers import them by name.

Each leaves a line in the sweep's `log`: `start STEP MODEL PROCESS` as it starts, `end ...` as it ends. What a bench is
to do besides is said by the name of the cell's model.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from mobilekit.sweep.cell import Cell
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.steps import StepError, Task
from tests.old_bundle import OLD_BUNDLE
from tests.sweep.rows_by_hand import DEVICE


def log(task: Task, word: str) -> None:
    """Note what a step does, whole also where two do so at once."""
    line = f"{word} {task.step} {task.cell['model']} {os.getpid()}\n"
    descriptor = os.open(Path(task.folder) / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def lines(folder: SweepFolder) -> list[list[str]]:
    """Return the words of each line of the log."""
    path = folder.path / "log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def timed(*precisions: str) -> dict[str, Any]:
    """Return what a bench of TFLite files finds that all took 2 ms."""
    latency = {"median": 2.0, "low": 1.0, "high": 3.0, "confidence": 0.96}
    result = {"latency_ms": latency, "raw_ms": [1.0, 2.0, 3.0], "statistic": "median", "memory_mb": 1.0,
              "delegates": [], "accepted": True, "why_not": None}  # fmt: skip
    results = [{**result, "file": f"bundle/model.{precision}.tflite"} for precision in precisions]
    bench = {"device": DEVICE, "engine": {"name": "LiteRT", "version": "2"}, "results": results, "rounds": []}
    return {"bench": bench, "baseline": {"entries": []}}


def step(task: Task) -> dict[str, Any]:
    """Do what the name of the model says, at its bench; `gate-` waits until the sweep's folder has a file `open`."""
    log(task, "start")
    model = str(task.cell["model"])
    if task.step == "bench":
        if model.startswith("gate-"):
            while not (Path(task.folder) / "open").exists():
                time.sleep(0.02)
        if model.startswith("slow-"):
            time.sleep(0.2)
        if model == "fails":
            raise StepError("the phone is on fire", "Put it out.")
        if model == "raises":
            raise ValueError("a bug")
        if model == "dies":
            os._exit(1)
        if model == "full":
            raise OSError(28, "No space left on device")
    cell = Cell.from_json(task.cell)
    if task.step == "export":
        shutil.copytree(OLD_BUNDLE, SweepFolder(Path(task.folder)).bundle_of(cell), dirs_exist_ok=True)
    log(task, "end")
    return timed(*cell.precisions) if task.step == "bench" else {}
