"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def release() -> None:
    """Collect garbage and return freed pages, so that the peaks of one step after another do not add up."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim:
            trim(0)
