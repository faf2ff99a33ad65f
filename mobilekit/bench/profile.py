"""Where a file's time goes: by op, by kind of work, and by module of the PyTorch model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.attribution import attribute
from mobilekit.bench.engine import Engine, RunSettings
from mobilekit.bench.kinds import Op, module_group, read_ops
from mobilekit.bench.litert_engine import run_worker, why_ended
from mobilekit.bench.tool_engine import ToolEngine
from mobilekit.errors import ToolError
from mobilekit.store.jsonable import Jsonable
from mobilekit.store.worker import WorkerError

ALONE = "each op timed alone, padding as part of its convolution: the sum is not the latency"
PROFILER = "benchmark_model's profiler, which slows the whole down"
_PATIENCE, _PATIENCE_PER_OP = 60, 2  # seconds; an op takes its limit of time, and an inference more

_ONE_AT_A_TIME = Lock()  # to open a file, LiteRT's standard error is closed for the whole process
_NO_DELEGATE, _LEFT = "no delegate took part", "the device's delegate left it"


@dataclass(frozen=True)
class OpTime(Op):
    """One op and its time."""

    ms: float | None
    """None where the profiler does not tell it from others."""
    delegated: bool

    @classmethod
    def of(cls, op: Op, ms: float | None, delegated: bool) -> OpTime:
        """Return an op with its time."""
        return cls(**vars(op), ms=ms, delegated=delegated)


@dataclass(frozen=True)
class UndelegatedTime(Jsonable):
    """An op outside the delegate."""

    op: str
    name: str
    """Of the first tensor that it makes."""
    module: str | None
    ms: float | None
    reason: str
    help: str
    """The setting of a recipe that would help; empty where none does."""


@dataclass(frozen=True)
class Profile(Jsonable):
    """The profile of one file; times are ms."""

    source: str
    total_ms: float
    """All time."""
    unplaced_ms: float
    """Time that belongs to no op of the file."""
    undelegated_ms: float
    """Time outside the delegate."""
    by_kind: dict[str, float]
    """Time of each kind of work, the largest first; without those of which no op's time is known."""
    by_module: dict[str, float]
    """Time of each module, in the same way, paths cut to their first two parts; empty without alignment."""
    partitions: int
    undelegated: tuple[UndelegatedTime, ...]
    ops: tuple[OpTime, ...]

    @classmethod
    def of(
        cls,
        source: str,
        ops: Sequence[OpTime],
        unplaced_ms: float = 0.0,
        partitions: int = 0,
        undelegated: Sequence[UndelegatedTime] = (),
    ) -> Profile:
        """Return the profile of these ops, with its sums."""
        return cls(
            source=source,
            total_ms=sum(each.ms or 0 for each in ops) + unplaced_ms,
            unplaced_ms=unplaced_ms,
            undelegated_ms=sum(each.ms or 0 for each in ops if not each.delegated),
            by_kind=_sums(ops, lambda each: each.kind),
            by_module={}
            if all(each.module is None for each in ops)
            else _sums(ops, lambda each: module_group(each.module)),
            partitions=partitions,
            undelegated=tuple(undelegated),
            ops=tuple(ops),
        )

    @property
    def has_delegate(self) -> bool:
        """Whether a delegate took part."""
        return any(each.delegated for each in self.ops)


def _sums(ops: Iterable[OpTime], key: Callable[[OpTime], str]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for each in ops:
        if each.ms is not None:
            sums[key(each)] += each.ms
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def profile_with(engine: Engine, artifact: Artifact, settings: RunSettings) -> Profile:
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
        return Profile.of(
            PROFILER,
            tuple(OpTime.of(op, placed.ms.get(op.index), op.index not in placed.own) for op in ops),
            placed.unplaced_ms,
            placed.partitions,
            tuple(_undelegated(op, known.get(op.tensor, otherwise), placed.ms[op.index]) for op in left),
        )
    alone = _time_alone(artifact, settings, len(ops))
    return Profile.of(
        ALONE,
        tuple(OpTime.of(op, alone.get(op.index), op.tensor not in reasons) for op in ops),
        partitions=delegate.partitions,
        undelegated=tuple(
            _undelegated(op, reasons[op.tensor], alone.get(op.index)) for op in ops if op.tensor in reasons
        ),
    )


def _undelegated(op: Op, reason: str, ms: float | None) -> UndelegatedTime:
    return UndelegatedTime(op.op, op.tensor, op.module, ms, reason, advice_for(op))


def advice_for(op: Op) -> str:
    """Return the setting of a recipe that keeps an int8 op in float, where the delegate has kernels for it.

    Empty where there is none: the op is in float already, or it has integer kernels.
    """
    from mobilekit.artifacts.delegate import FLOAT_ONLY
    from mobilekit.artifacts.float_regions import word_keeping

    word = word_keeping(op.op) if op.quantized and op.op in FLOAT_ONLY else None
    return f"int8: {{keep_float: [{word}]}}" if word else ""


def _time_alone(artifact: Artifact, settings: RunSettings, count: int) -> dict[int, float]:
    request = {"file": str(artifact.path.absolute()), "threads": settings.threads}
    seconds = _PATIENCE + _PATIENCE_PER_OP * count
    try:
        times = run_worker("mobilekit.bench.single_ops", request, settings.cpu_mask, seconds)
    except WorkerError as error:
        raise ToolError(f"While the ops were timed alone, {why_ended(error)}.") from error
    return {entry["index"]: entry["ms"] for entry in times if entry["ms"] is not None}
