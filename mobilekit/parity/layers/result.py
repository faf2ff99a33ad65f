"""The values inside a model as a result: how far each is off at every stage. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, computed_field

from mobilekit.parity.ledger.result import MeasuredOn
from mobilekit.store.result import Figure, Result
from mobilekit.store.stages import Stage

EQUAL = 1e-9
"""Relative L2 distance in float64, to which an exact rewrite is proved; a different quantity is some 0.1 to 1 away."""
MOST = 5
"""How many of the layers that add most are named."""


@dataclass(frozen=True)
class TensorError(Result):
    """The distance of a tensor from the one that it should be, over all inputs."""

    max_abs: Figure
    """Largest absolute difference."""
    relative_l2: Figure
    """L2 norm of the difference over that of the signal; infinite where there is a difference and no signal."""
    sqnr_db: Figure | None
    """Signal to quantization noise, 10 log10(sum of signal^2 / sum of difference^2); None where nothing differs."""
    worst_channel_db: Figure | None
    """The same of the channel where it is lowest; None where no channel that has a signal differs."""
    worst_channel: int | None
    """Which channel that is."""
    values: int
    """How many values of the signal are not zero."""


@dataclass(frozen=True)
class LayerRow(Result):
    """A value at one stage."""

    tap: str
    module: str
    step: TensorError | None
    """Against the stage before; None where its shapes say that it is another value there."""
    total: TensorError | None
    """Against the reference; None where that has no such value."""
    expected: Annotated[Figure, Field(alias="expected_relative_l2")]
    """Relative L2 that the stage's number format brings by itself, measured on a simulation."""
    limit: Annotated[Figure, Field(alias="limit_relative_l2")]
    """Relative L2 that this can explain."""
    added: Annotated[Figure, Field(alias="added_relative_l2")]
    """Relative L2 that comes in here: sqrt(step^2 - the largest among the values that it is computed from^2)."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def jumps(self) -> bool:
        """Whether `step` is more than the format explains."""
        return self.step is not None and not self.step.relative_l2 <= self.limit


@dataclass(frozen=True)
class Observer(Result):
    """How far the final outputs of the tapped copy are from those of the artifact itself."""

    identical: bool
    max_abs: Figure
    relative_l2: Figure


@dataclass(frozen=True)
class StageLayers(Result):
    """All values at one stage, in the order in which they are computed."""

    stage: Stage
    against: Stage
    observer: Observer
    rows: Annotated[tuple[LayerRow, ...], Field(alias="layers")]

    @property
    def first_jump(self) -> LayerRow | None:
        """The first value whose error is more than the format explains."""
        return next((row for row in self.rows if row.jumps), None)

    @property
    def adds_most(self) -> list[LayerRow]:
        """The values at which most error comes in, the largest first."""
        return sorted((row for row in self.rows if row.added > 0), key=lambda row: -row.added)[:MOST]

    @computed_field(alias="first_jump")  # type: ignore[prop-decorator]
    @property
    def jumps_at(self) -> str | None:
        """The module of the first value whose error is more than the format explains."""
        return self.first_jump.module if self.first_jump else None

    @computed_field(alias="adds_most")  # type: ignore[prop-decorator]
    @property
    def adds_most_at(self) -> list[str]:
        """The modules at which most error comes in, the largest first."""
        return [row.module for row in self.adds_most]


@dataclass(frozen=True)
class Counterpart(Result):
    """A step of the reference that computes the same quantity."""

    step: str
    """Its name in the reference's graph."""
    path: str
    """Path of the module that it calls, or in whose `forward` it stands."""
    distance: Figure
    """Relative L2 distance of the two in float64."""


@dataclass(frozen=True)
class TappedValue(Result):
    """A value inside the rewritten model, or one of its outputs."""

    tap: str
    """Name of the output that carries it."""
    module: str
    """Path of the module that it is the result of: the first of the steps that a kernel may do in one."""
    step: str
    """Path of the last of those steps."""
    computed_from: tuple[str, ...]
    """The taps that it is computed from, with nothing tapped between."""
    is_output: bool
    reference: Counterpart | None
    """The same quantity in the reference; None where that has none."""


@dataclass(frozen=True)
class Layers(Result):
    """The values inside a model at every stage."""

    inputs: MeasuredOn
    taps: tuple[TappedValue, ...]
    stages: tuple[StageLayers, ...]
    notes: tuple[str, ...] = ()
    """What could not be measured, and why."""

    @property
    def measured(self) -> list[StageLayers]:
        """The stages that have values of their own: all but the reference."""
        return [stage for stage in self.stages if stage.rows]
