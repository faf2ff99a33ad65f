"""A bisection as a result: what is at fault in a file that was converted. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from mobilekit.store.result import Figure, Result


@dataclass(frozen=True)
class ErrorAlone(Result):
    """The error of ops that were cut out, on the reference's values."""

    relative_l2: Figure
    limit: Figure
    """What rounding explains."""


@dataclass(frozen=True)
class FaultReport(Result):
    """A part of the candidate that computes a different result."""

    modules: tuple[str, ...]
    """Of the reference, in the order in which they run."""
    steps: tuple[str, ...]
    """Of the reference's graph."""
    ops: tuple[str, ...]
    """Of the candidate."""
    inputs: tuple[str, ...]
    """Tensors that the ops take, which are right."""
    output: str
    """The tensor that they make, which is wrong."""
    relative_l2: Figure
    limit: Figure
    """What rounding explains."""
    alone: ErrorAlone | None
    """None where it does not show by itself."""
    certain: bool
    """Whether what comes after agrees with the reference again."""
    counts_labels: bool = False
    """Whether the output has labels: its errors are then the share of them that differs."""
    missing: bool = False
    """Whether the ops are right, and the steps, which follow them in the reference, are done by none."""

    @property
    def in_candidate(self) -> str:
        """What the candidate has there."""
        return f"{'nothing after ' if self.missing else ''}{', '.join(self.ops)}"


@dataclass(frozen=True)
class BisectionReport(Result):
    """All that was found, the first fault's figures at the top."""

    modules: tuple[str, ...]
    """At fault, in the order in which they run; empty where nothing is."""
    faults: tuple[FaultReport, ...]
    tensors_aligned: int
    """How many tensors of the candidate follow the reference."""
    tensors: int
    message: str
    """What more there is to say, or why nothing was written."""
    folder: str | None
    """Where the first fault was written."""
    files: tuple[str, ...]
    """What is in there."""
    steps: tuple[str, ...] | None = None
    ops: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None
    output: str | None = None
    relative_l2: Figure | None = None
    limit: Figure | None = None
    alone: ErrorAlone | None = None
    certain: bool | None = None
    counts_labels: bool = False
    missing: bool | None = None
