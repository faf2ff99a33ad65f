"""LiteRT in a process of its own: what times artifacts on this machine where benchmark_model is not at hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mobilekit.artifacts.tflite_check import damage_in
from mobilekit.bench.devices.local import pinned
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.worker import WorkerError, run_json_worker

SLACK = 60  # seconds for starting, opening the file and the last inference


class LiteRTEngine(Engine):
    """Times files with the LiteRT that is installed beside mobilekit, and its XNNPACK."""

    name = "LiteRT"

    def describe(self) -> EngineFacts:
        """Return the name and version of the package."""
        return EngineFacts(self.name, version("ai-edge-litert"), None)

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file; see `Engine.run`.

        Raises:
            DeviceError: It took too long.
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
        seconds = 2 * settings.max_seconds + SLACK
        try:
            reply = run_worker("mobilekit.bench.litert_worker", request, settings.cpu_mask, seconds)
        except WorkerError as error:
            damage = damage_in(file.read_bytes()) if file.is_file() else None
            return Run(None, f"{damage}; convert or export it again" if damage else why_ended(error))
        return _read(reply, settings.delegate)


def run_worker(module: str, request: dict[str, Any], cpu_mask: str | None, seconds: float) -> Any:
    """Have LiteRT do something in a process of its own, on the cores of a mask.

    Raises:
        DeviceError: It took too long, or there are no such cores.
        WorkerError: It failed or died; see `why_ended`.
    """
    try:
        return run_json_worker(module, request, seconds=seconds, around_start=pinned(cpu_mask))
    except WorkerError as error:
        if error.is_late:
            raise DeviceError(
                f"LiteRT did not end within {seconds:g} s on this machine; it was killed.",
                "Give it more time, or less to do.",
            ) from error
        raise


def why_ended(error: WorkerError) -> str:
    """Say how a process of LiteRT's ended, with its last words."""
    words = "the file may be damaged, or the memory not enough" if error.signal else error.words
    return f"LiteRT {error.ending}: {words}"


def _read(reply: dict[str, Any], delegate: str | None) -> Run:
    if delegate == "xnnpack" and not reply["partitions"]:
        return Run(None, "XNNPACK took no op of this file")
    partitions = f"{reply['partitions']} partition{'' if reply['partitions'] == 1 else 's'}"
    taken = f"XNNPACK: {reply['delegated']} of {reply['total']} ops in {partitions}"
    return read_times(reply, taken)


def read_times(reply: Mapping[str, Any], taken: str) -> Run:
    """Return what a process says of its inferences.

    Args:
        reply: `raw_ms`, `warmup_ms`, `init_ms` and `memory_mb`.
        taken: What a delegate runs, as a sentence.
    """
    times = reply["raw_ms"]
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
