"""What the steps of a recipe did to a model: the results of rewriting, which ledgers keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, computed_field

from mobilekit.rewrites.exactness import Exactness
from mobilekit.store.result import Figure, Result

EXACT_RELATIVE_ERROR = 1e-9
"""Limit of the proof. float64 rounds at 1.1e-16; a few hundred layers of a few thousand terms each leave the error of
another order of the same sums under 1e-12, and a function that is really another one is far above 1e-9."""


@dataclass(frozen=True)
class ProofCase(Result):
    """Random inputs of a proof."""

    shape: tuple[int, ...]
    """Of the first input, NCHW."""
    seed: int
    extra_inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes by name."""


@dataclass(frozen=True)
class Proof(Result):
    """What was compared, and the largest error found."""

    relative_error: Figure
    """max |after - before| / max |before|, the worst of all cases."""
    cases: tuple[ProofCase, ...]
    limit: float = EXACT_RELATIVE_ERROR

    @computed_field  # type: ignore[prop-decorator]
    @property
    def holds(self) -> bool:
        """Whether the rewrite left the function as it was."""
        return self.relative_error <= self.limit


@dataclass(frozen=True)
class Float32Check(Result):
    """The rounding error of one output, the one that is nearest to its budget."""

    output: str
    max_error_eps: Annotated[Figure, Field(alias="ulps")]
    """max |float32 - float64|, in units of 2^-24 of the largest output."""
    limit: Figure
    """The budget, in the same units."""
    count: int
    """Number of inputs."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def holds(self) -> bool:
        """Whether the rewrite kept to the budget."""
        return self.max_error_eps <= self.limit


@dataclass(frozen=True)
class Refusal(Result):
    """A site at which a rewrite was not applied, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class StepReport(Result):
    """What one step of the recipe did."""

    name: str
    exactness: Exactness
    applied: tuple[str, ...]
    """Paths of the sites at which it was applied."""
    refused: tuple[Refusal, ...]
    details: tuple[str, ...] = ()
    """What each applied site did or cost, as the rewrite says it; may be empty strings."""
    proof: Proof | None = None
    float32: Float32Check | None = None
    """Rounding of a proved step on calibration inputs, where there are any."""
    drift: Figure | None = None
    """Relative L2 change of the outputs on the calibration inputs, by this step after those before it."""
    drift_alone: Figure | None = None
    """The same where this rewrite is the only one; None where it then matches nothing."""
    drift_so_far: Figure | None = None
    """The same from the reference to after this step."""
    max_drift: float | None = None
    """What `drift` and `drift_alone` are held to; None where nothing is promised."""
    top1_agreement: float | None = None
    """Share of the calibration inputs whose largest output this step leaves the same."""
    top1_agreement_alone: float | None = None
    min_top1_agreement: float | None = None
    notes: tuple[str, ...] = ()
    """What the user should know: nothing matched, the order costs sites, a second run would change more."""

    @property
    def is_other_function(self) -> bool:
        """Whether the outputs are no longer comparable: the model was changed and has to be trained again."""
        return self.exactness is Exactness.NEEDS_RETRAINING and bool(self.applied)
