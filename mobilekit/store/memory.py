"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

_NEW_OBJECTS = 20_000
"""Python's own figure is 700: it then looks through all of torch's objects again and again as they are made."""


def collect_rarely() -> None:
    """Let Python look for garbage in cycles less often; what lies in none goes at once in any case."""
    gc.set_threshold(_NEW_OBJECTS, 10, 10)


def release() -> None:
    """Collect garbage and return freed pages, so that the peaks of one step after another do not add up."""
    gc.collect()
    trim()


def trim() -> None:
    """Return freed pages, without a look for garbage in cycles, which takes long where there are many objects."""
    if sys.platform == "linux":
        give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if give_back:
            give_back(0)
