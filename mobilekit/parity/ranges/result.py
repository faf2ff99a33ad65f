"""What the ranges of activations warn of, as a result. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from mobilekit.store.result import Figure, Result

Severity = Literal["severe", "warning"]


@dataclass(frozen=True)
class RangeWarning(Result):
    """One thing that a number format will do."""

    kind: str
    """Such as `float16-overflow`."""
    severity: Severity
    """`severe` where it happens on the calibration inputs and ruins values; `warning` where it may, or loses bits."""
    module: str
    """Path of the module that the step is in."""
    step: str
    """The step's name in the rewritten model's graph."""
    figure: Figure
    threshold: Figure
    text: str
    advice: str


@dataclass(frozen=True)
class RangeLint(Result):
    """All warnings about one model, the severe ones first."""

    count: Annotated[int, Field(alias="inputs")]
    """Number of calibration inputs."""
    warnings: tuple[RangeWarning, ...]
