"""How many examples properties are tried on: as many as the profile says, or a share or multiple of it."""

from __future__ import annotations

from hypothesis import settings


def times(factor: float) -> settings:
    """Return settings with this many times the profile's examples: more where one is cheap and a fault is rare."""
    return settings(max_examples=round(factor * settings().max_examples))
