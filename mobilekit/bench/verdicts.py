"""What a bench is held to says of each file: a change against a baseline, a limit of a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobilekit.store.jsonable import Jsonable


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
class BudgetVerdict(Jsonable):
    """One limit, and whether an artifact keeps to it."""

    file: str
    precision: str
    device: str
    limited: Literal["latency_ms", "memory_mb", "size_mb"]
    limit: float
    figure: float | None
    verdict: Literal["pass", "fail", "inconclusive"]
    why: str
