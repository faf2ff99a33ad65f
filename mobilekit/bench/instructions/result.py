"""What a count of instructions found. Its fields are the keys of what `mobilekit bench --core CORE --json` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mobilekit.bench.instructions.cores import CountedCore
from mobilekit.bench.instructions.record import CacheMisses
from mobilekit.bench.verdicts import BudgetVerdict, InstructionChange
from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable


@dataclass(frozen=True)
class StepCount(Jsonable):
    """One operator of XNNPACK, or one op that TFLite runs itself, in the order in which they run."""

    kind: Literal["operator", "builtin"]
    """`builtin`: TFLite's own op, outside XNNPACK's partitions."""
    kernel: str
    """The microkernel that most of its instructions are in; of a builtin op its name."""
    function: str
    """The kernel's full name in LiteRT's library."""
    instructions: int
    classes: dict[str, int]
    loaded_bytes: int
    """Of all its loads, wherever in the memory they go; as many bytes as the registers take."""
    stored_bytes: int
    op: str | None
    """The op of the file that it belongs to; None where that is not clear."""
    tensor: str | None
    """Name of the first tensor that the op makes."""
    module: str | None
    """Path of the PyTorch module that the op comes from."""
    work: str | None
    """The kind of work, as profiles group it: pointwise, depthwise, ..."""
    misses: CacheMisses | None = field(default=None, metadata=ABSENT_IF_NONE)
    """None where no caches were simulated."""


@dataclass(frozen=True)
class Count(Jsonable):
    """The instructions of one inference."""

    instructions: int
    """Of all steps."""
    runtime_instructions: int
    """Around the steps: they change a little from run to run, and are no part of the above."""
    loaded_bytes: int
    stored_bytes: int
    partitions: int
    by_class: dict[str, int]
    by_kernel: dict[str, int]
    by_kind: dict[str, int]
    by_module: dict[str, int]
    """Paths cut to their first two parts; empty where the file's bundle does not tell."""
    steps: tuple[StepCount, ...]
    misses: CacheMisses | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Of all steps; None where no caches were simulated."""

    @property
    def kernels(self) -> dict[str, str]:
        """The kernel that runs each op, by the name of the tensor that it makes."""
        chosen: dict[str, StepCount] = {}
        for step in self.steps:
            if step.tensor and step.instructions > getattr(chosen.get(step.tensor), "instructions", 0):
                chosen[step.tensor] = step
        return {tensor: step.kernel for tensor, step in chosen.items()}


@dataclass(frozen=True)
class FileCount(Jsonable):
    """One file, and its count."""

    file: str
    path: str
    sha256: str
    precision: str
    size_mb: float
    """In units of 10^6 bytes."""
    accepted: bool
    why_not: str | None
    count: Count | None
    """None where it was refused."""


@dataclass(frozen=True)
class CountComparison(Jsonable):
    """The instructions of `file` as a multiple of those of `against`, on the same core with the same LiteRT."""

    file: str
    against: str
    ratio: float
    warning: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Why the ratio is not that of the times."""


@dataclass(frozen=True)
class CountResult(Jsonable):
    """The counts of some files on one core: instructions, never times."""

    device: Literal["emulated"]
    unit: Literal["instructions"]
    core: CountedCore
    litert: str
    qemu: str
    plugin_sha256: str
    """Of the source of what counts."""
    threads: int
    results: tuple[FileCount, ...]
    comparisons: tuple[CountComparison, ...]
    notes: tuple[str, ...]
    baseline: tuple[InstructionChange, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """None where none was given, and so with budgets."""
    budgets: tuple[BudgetVerdict, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)

    @property
    def fails(self) -> bool:
        """Whether a file regressed, a budget is exceeded, or a count was refused."""
        return (
            any(not each.accepted for each in self.results)
            or any(each.verdict == "regressed" for each in self.baseline or ())
            or any(each.verdict == "fail" for each in self.budgets or ())
        )
