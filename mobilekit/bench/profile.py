"""Where a file's time goes: by op, by kind of work, and by module of the PyTorch model."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.attribution import attribute
from mobilekit.bench.devices.base import Workspace
from mobilekit.bench.engine import Engine, RunSettings
from mobilekit.bench.kinds import Op, read_ops
from mobilekit.bench.litert_engine import last_words, worker
from mobilekit.bench.tool_engine import ToolEngine
from mobilekit.errors import ToolError

ALONE = "each op timed alone, padding as part of its convolution: the sum is not the latency"
PROFILER = "benchmark_model's profiler, which slows the whole down"
_PATIENCE, _PATIENCE_PER_OP = 60, 2  # seconds; an op takes its limit of time, and an inference more

_ONE_AT_A_TIME = Lock()  # to open a file, LiteRT's standard error is closed for the whole process
_NO_DELEGATE, _LEFT = "no delegate took part", "the device's delegate left it"
# What a recipe can do about an op that XNNPACK leaves, by the op and whether it is quantised.
_HELP = {
    ("HARD_SWISH", True): "int8: {keep_float: [hard-swish]}",
    ("DIV", True): "int8: {keep_float: [division]}",
    ("BATCH_MATMUL", True): "int8: {keep_float: [division]}",
}


@dataclass(frozen=True)
class OpTime:
    """One op and its time."""

    op: Op
    ms: float | None
    """None where the profiler does not tell it from others."""
    delegated: bool


@dataclass(frozen=True)
class Profile:
    """The profile of one file."""

    source: str
    ops: tuple[OpTime, ...]
    unplaced_ms: float = 0.0
    """Time that belongs to no op of the file."""
    partitions: int = 0
    undelegated: tuple[dict[str, Any], ...] = field(default=())
    """`op`, `name`, `module`, `ms`, `reason` and `help` (a recipe setting) of each op outside the delegate."""

    @property
    def total_ms(self) -> float:
        """All time."""
        return sum(each.ms or 0 for each in self.ops) + self.unplaced_ms

    def by_kind(self) -> dict[str, float]:
        """Return the ms of each kind of work, the largest first."""
        return self._sums(lambda each: each.op.kind)

    def by_module(self, depth: int = 2) -> dict[str, float]:
        """Return the ms of each module, paths cut to `depth` parts, the largest first; empty without alignment."""
        if all(each.op.module is None for each in self.ops):
            return {}
        return self._sums(lambda each: ".".join((each.op.module or "(unknown)").split(".")[:depth]))

    def undelegated_ms(self) -> float:
        """Return the time outside the delegate."""
        return sum(each.ms or 0 for each in self.ops if not each.delegated)

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON data."""
        return {
            "source": self.source,
            "total_ms": self.total_ms,
            "unplaced_ms": self.unplaced_ms,
            "undelegated_ms": self.undelegated_ms(),
            "by_kind": self.by_kind(),
            "by_module": self.by_module(),
            "partitions": self.partitions,
            "undelegated": list(self.undelegated),
            "ops": [{**asdict(each.op), "ms": each.ms, "delegated": each.delegated} for each in self.ops],
        }

    def _sums(self, key: Callable[[OpTime], str]) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for each in self.ops:
            sums[key(each)] += each.ms or 0
        return dict(sorted(sums.items(), key=lambda item: -item[1]))


def profile_with(engine: Engine, workspace: Workspace, artifact: Artifact, settings: RunSettings) -> Profile:
    """Profile a file: with benchmark_model's profiler where that is the engine, else each op alone on this machine.

    Raises:
        ToolError: The file cannot be profiled.
    """
    from mobilekit.artifacts.delegate import describe_delegate
    from mobilekit.artifacts.litert import LiteRTRuntime

    with _ONE_AT_A_TIME:
        ops = read_ops(artifact.path, artifact.alignment())
        delegate = describe_delegate(LiteRTRuntime(artifact.path).interpreter)
    reasons = {each.name: each.reason for each in delegate.undelegated}
    if isinstance(engine, ToolEngine):
        placed = attribute(ops, engine.profile(artifact.path, settings))
        left = [op for op in ops if op.index in placed.own]
        known, otherwise = ({}, _NO_DELEGATE) if len(left) == len(ops) else (reasons, _LEFT)
        return Profile(
            PROFILER,
            tuple(OpTime(op, placed.ms.get(op.index), op.index not in placed.own) for op in ops),
            placed.unplaced_ms,
            placed.partitions,
            tuple(_entry(op, known.get(op.tensor, otherwise), placed.ms[op.index]) for op in left),
        )
    alone = _time_alone(workspace, artifact, settings, len(ops))
    return Profile(
        ALONE,
        tuple(OpTime(op, alone.get(op.index), op.tensor not in reasons) for op in ops),
        partitions=delegate.partitions,
        undelegated=tuple(_entry(op, reasons[op.tensor], alone.get(op.index)) for op in ops if op.tensor in reasons),
    )


def _entry(op: Op, reason: str, ms: float | None) -> dict[str, Any]:
    return {
        "op": op.op,
        "name": op.tensor,
        "module": op.module,
        "ms": ms,
        "reason": reason,
        "help": _HELP.get((op.op, op.quantised), ""),
    }


def _time_alone(workspace: Workspace, artifact: Artifact, settings: RunSettings, count: int) -> dict[int, float]:
    request = {"file": str(artifact.path.absolute()), "threads": settings.threads}
    finished = workspace.run(
        worker("mobilekit.bench.single_ops", request),
        cpu_mask=settings.cpu_mask,
        timeout=_PATIENCE + _PATIENCE_PER_OP * count,
    )
    if finished.exit_code != 0:
        raise ToolError(f"While the ops were timed alone, {last_words(finished)}.")
    times: Sequence[dict[str, Any]] = json.loads(finished.stdout.splitlines()[-1])
    return {entry["index"]: entry["ms"] for entry in times if entry["ms"] is not None}
