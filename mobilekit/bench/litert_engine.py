"""LiteRT in a process of its own: what times artifacts on this machine where benchmark_model is not at hand."""

from __future__ import annotations

import json
import signal
import statistics
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.errors import UsageError

_SLACK = 60  # seconds for starting, opening the file and the last inference
_KILLED = 128  # and the signal's number


class LiteRTEngine(Engine):
    """Times files with the LiteRT that is installed beside mobilekit, and its XNNPACK.

    Args:
        workspace: A folder on this machine.
    """

    name = "LiteRT"

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def describe(self) -> EngineFacts:
        """Return the name and version of the package."""
        return EngineFacts(self.name, version("ai-edge-litert"), None)

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file; see `Engine.run`.

        Raises:
            UsageError: A delegate is demanded that LiteRT's Python package has not.
        """
        if settings.delegate not in (None, "xnnpack"):
            raise UsageError(
                f"LiteRT on this machine has no {settings.delegate} delegate.",
                "Give a benchmark_model that has it with --benchmark-binary.",
            )
        request = {
            "file": str(file.absolute()),
            "threads": settings.threads,
            "runs": settings.runs,
            "warmup_runs": settings.warmup_runs,
            "max_seconds": settings.max_seconds,
        }
        finished = self.workspace.run(
            worker("mobilekit.bench.litert_worker", request),
            cpu_mask=settings.cpu_mask,
            timeout=2 * settings.max_seconds + _SLACK,
        )
        return _read(finished, settings.delegate)


def worker(module: str, request: dict[str, Any]) -> list[str]:
    """Return the command that carries out a request with a module's `main`, also from a checkout not installed."""
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from {module} import main; main()"
    return [sys.executable, "-c", code, json.dumps(request)]


def last_words(finished: Finished) -> str:
    """Say how a process of LiteRT's ended, with its last words."""
    if finished.exit_code > _KILLED:
        name = signal.Signals(finished.exit_code - _KILLED).name
        return f"LiteRT was ended by {name}: the file may be damaged, or the memory not enough"
    lines = [line for line in finished.stderr.strip().splitlines() if not line.startswith("INFO")]
    return f"LiteRT ended with exit code {finished.exit_code}: {lines[-1] if lines else 'it said nothing'}"


def _read(finished: Finished, delegate: str | None) -> Run:
    if finished.exit_code != 0:
        return Run(None, last_words(finished))
    reply = json.loads(finished.stdout.splitlines()[-1])
    if delegate == "xnnpack" and not reply["partitions"]:
        return Run(None, "XNNPACK took no op of this file")
    times = reply["raw_ms"]
    partitions = f"{reply['partitions']} partition{'' if reply['partitions'] == 1 else 's'}"
    taken = f"XNNPACK: {reply['delegated']} of {reply['total']} ops in {partitions}"
    return Run(
        latency_ms=statistics.median(times),
        count=len(times),
        min_ms=min(times),
        max_ms=max(times),
        init_ms=reply["init_ms"],
        first_ms=reply["warmup_ms"][0],
        memory_mb=reply["memory_mb"],
        delegates=(taken,),
        raw_ms=tuple(times),
    )
