"""What a bench is held to says of each file: a change against a baseline, a limit of a budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable


@dataclass(frozen=True)
class Change(Jsonable):
    """How one artifact's latency changed: ratio is now / then, None where there is nothing to compare."""

    file: str
    precision: str
    verdict: Literal["regressed", "improved", "same", "inconclusive", "new", "missing", "not-comparable"]
    why: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    same_file: bool | None = None
    """The artifact is the same, byte for byte: a change is the device's or the engine's."""


@dataclass(frozen=True)
class InstructionChange(Jsonable):
    """How the instructions of one artifact, or of a part of it, changed; ratio is now / then, as above."""

    file: str
    precision: str
    part: str
    """`model`, `kind pointwise`, `module blocks.3`."""
    verdict: Literal["regressed", "improved", "same", "new", "missing", "not-comparable"]
    why: str
    then: int | None = None
    now: int | None = None
    ratio: float | None = None
    kernels: dict[str, int] = field(default_factory=dict)
    """For the model: which kernels took other kernels' places, `f32_gemm_6x8 -> f32_gemm_4x2`, and for how many ops."""
    same_file: bool | None = None


@dataclass(frozen=True)
class BudgetVerdict(Jsonable):
    """One limit, and whether an artifact keeps to it."""

    file: str
    precision: str
    device: str
    limited: Literal["latency_ms", "memory_mb", "size_mb", "instructions"]
    limit: float
    figure: float | None
    verdict: Literal["pass", "fail", "inconclusive"]
    why: str
    part: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What of the artifact the limit is on: `kind pointwise`, `module blocks.3`; None for all of it."""

    @property
    def what(self) -> str:
        """What the limit is on, in words."""
        return f"{self.limited} of {self.part}" if self.part else self.limited
