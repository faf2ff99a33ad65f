"""Times every file in rounds of random order, with mobilekit's own bench and its statistics."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import conversions, environments, pointwise, tools
from benchmarks.peers.tools import PRECISIONS, TOOLS, Tool
from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.devices.local import LocalDevice
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.bench.litert_engine import LiteRTEngine
from mobilekit.bench.result import result_of
from mobilekit.bench.session import Plan, run_rounds
from mobilekit.store.files import sha256_of, write_json

TIMED = conversions.WORK / "timed"
LIMIT = "pointwise"
_ROUNDS_OF_SHAPES = 3  # only to find the best; its rate is measured again with each model
_SLACK = 60  # seconds for starting and the last inference


class PeersEngine(Engine):
    """Times .tflite files as mobilekit does, and all others with the worker of their own runtime."""

    name = "LiteRT, ONNX Runtime and ExecuTorch"

    def __init__(self, workspace: Workspace, runtimes: dict[Path, Tool], size: int) -> None:
        self.workspace = workspace
        self.litert = LiteRTEngine()
        self.runtimes = runtimes
        self.size = size

    def describe(self) -> EngineFacts:
        """Return the name; the versions are in the records."""
        return EngineFacts(self.name, None, None)

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file in a process of its own; see `Engine.run`."""
        if file.suffix == ".tflite":
            return self.litert.run(file, settings)
        tool = self.runtimes[file]
        arguments = {
            "file": str(file),
            "size": self.size,
            "runs": settings.runs,
            "warmup_runs": settings.warmup_runs,
            "max_seconds": settings.max_seconds,
        }
        words = tools.request(tool.runtime, tool.environment, "time", arguments)
        return read(self.workspace.run(words, timeout=2 * settings.max_seconds + _SLACK))


def read(finished: Finished) -> Run:
    """Return what a worker's process said."""
    if finished.exit_code != 0:
        return Run(None, conversions.last_words(finished.exit_code, finished.stderr))
    reply = json.loads(finished.stdout.splitlines()[-1])
    times = reply["raw_ms"]
    return Run(
        latency_ms=statistics.median(times),
        count=len(times),
        min_ms=min(times),
        max_ms=max(times),
        init_ms=reply["init_ms"],
        first_ms=reply["warmup_ms"][0],
        memory_mb=reply["memory_mb"],
        raw_ms=tuple(times),
    )


@dataclass(frozen=True)
class Rate:
    """The best rate of pointwise convolutions."""

    precision: str
    shape: tuple[int, int]
    macs_a_second: float

    @property
    def file(self) -> Path:
        """The file that has it."""
        return conversions.pointwise() / pointwise.name(*self.shape, self.precision)


def title(tool: Tool, precision: str) -> str:
    """Return the name under which a tool's file stands in the results."""
    return f"{tool.name} {precision}"


def time_all(models: tuple[str, ...], rounds: int, seed: int) -> None:
    """Find the shapes of the best rate, then time each model's files together with theirs."""
    environments.variables_into_own_process()
    TIMED.mkdir(parents=True, exist_ok=True)
    best = _best_shapes(min(rounds, _ROUNDS_OF_SHAPES), seed)
    for model in models:
        print(f"timing {model}: {rounds} rounds", flush=True)
        runtimes, artifacts = {}, []
        for precision, tool in itertools.product(PRECISIONS, TOOLS):
            record = conversions.record_of(tool, model, precision)
            if record and "metrics" in record:
                path = Path(record["file"])
                runtimes[path] = tool
                artifacts.append(_artifact(path, title(tool, precision), precision))
        limits = [_artifact(rate.file, f"{LIMIT} {rate.precision}", LIMIT) for rate in best]
        size = conversions.facts_of(model)["size"]
        content = _rounds([*artifacts, *limits], runtimes, size, rounds, seed)
        write_json(
            TIMED / f"{model}.json",
            {
                "date": str(datetime.date.today()),
                "load": os.getloadavg()[0],
                "rates": {rate.precision: _rate(content, rate) for rate in best},
                "bench": content,
            },
        )


def _best_shapes(rounds: int, seed: int) -> list[Rate]:
    """Return the best rate of each precision."""
    print(f"timing pointwise convolutions: {rounds} rounds", flush=True)
    folder = conversions.pointwise()
    tried = [Rate(precision, shape, 0) for precision in PRECISIONS for shape in pointwise.SHAPES]
    artifacts = [_artifact(rate.file, rate.file.name, rate.precision) for rate in tried]
    content = _rounds(artifacts, {}, 0, rounds, seed)
    found = [Rate(rate.precision, rate.shape, _rate(content, rate)) for rate in tried]
    write_json(folder / "rates.json", [[rate.file.name, rate.macs_a_second] for rate in found])
    groups = [[rate for rate in found if rate.precision == precision] for precision in PRECISIONS]
    return [max(group, key=lambda rate: rate.macs_a_second) for group in groups]


def _rate(content: dict[str, Any], rate: Rate) -> float:
    """Return the multiply-accumulates a second in the fastest of the rounds' medians, as a limit is one."""
    [result] = [result for result in content["results"] if result["path"] == str(rate.file)]
    return pointwise.macs(*rate.shape) / (1e-3 * float(result["latency_ms"]["min"]))


def _rounds(artifacts: list[Artifact], runtimes: dict[Path, Tool], size: int, rounds: int, seed: int) -> dict[str, Any]:
    device = LocalDevice()
    tell: Callable[[str], None] = (lambda text: print(f"\r\033[K  {text}", end="")) if sys.stderr.isatty() else _quiet
    plan = Plan(tuple(artifact.path for artifact in artifacts), RunSettings(), rounds, seed)
    with device.open_workspace() as workspace:
        engine = PeersEngine(workspace, runtimes, size)
        outcome = run_rounds(device, engine, plan, tell)
        return result_of(device.facts, engine.describe(), artifacts, plan, outcome).to_json()


def _quiet(_text: str) -> None:
    """Say nothing."""


def _artifact(path: Path, name: str, group: str) -> Artifact:
    return Artifact(path, name, group, group, sha256_of(path), None)
