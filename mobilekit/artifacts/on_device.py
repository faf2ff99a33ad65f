"""Devices that run TFLite files for their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mobilekit.artifacts.runtime import Runtime
from mobilekit.store.stages import Place, Stage


@dataclass(frozen=True)
class OnDevice:
    """A device that is open."""

    open: Callable[[Stage, Path, Mapping[str, str]], Runtime]
    """Opens the file of a stage there; the mapping says which of its outputs are NHWC, by their names."""
    place: Place = "device"
    """Which stages its runs are."""
    left: Mapping[Stage, str] = field(default_factory=dict)
    """Why stages cannot be run there, a sentence without a full stop."""
