"""What a rewrite promises."""

from __future__ import annotations

from enum import StrEnum


class Exactness(StrEnum):
    """What a rewrite promises about the function that the model computes."""

    EXACT = "exact"
    """The same function in real arithmetic, at every site."""
    EXACT_WHEN = "exact-when"
    """The same function where the condition that `why_not` checks holds."""
    APPROXIMATE = "approximate"
    """Another function; the drift is measured and held to the recipe's `max_drift`."""
    NEEDS_RETRAINING = "needs-retraining"
    """Another function that the weights were not trained for; refused unless the recipe says `allow: true`."""

    @property
    def is_proved(self) -> bool:
        """Whether the float64 proof must hold."""
        return self in (Exactness.EXACT, Exactness.EXACT_WHEN)
