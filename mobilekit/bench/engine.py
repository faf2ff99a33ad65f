"""What runs an artifact and times it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable


@dataclass(frozen=True)
class RunSettings(Jsonable):
    """How one process runs one artifact."""

    threads: int = 1
    runs: int = 20
    """Inferences that count."""
    warmup_runs: int = 3
    max_seconds: float = 5
    """No new inference starts after this; one is always made."""
    cpu_mask: str | None = None
    """Cores it may use, hexadecimal without 0x; None leaves the choice to the system."""
    delegate: str | None = None
    """`xnnpack`, `gpu` or `nnapi` where it is demanded; None takes what the tool does by itself."""


@dataclass(frozen=True)
class Run(Jsonable):
    """What one process that ran one artifact said. Times in ms, memory in MB; None where the engine does not say."""

    latency_ms: float | None
    """Median of the inferences where the engine gives it, else their mean; None if the run is refused."""
    why_not: str | None = None
    """Why the run is refused: its figures are not used."""
    statistic: Literal["median", "mean"] = "median"
    """What `latency_ms` is."""
    count: int = 0
    min_ms: float | None = None
    max_ms: float | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    memory_mb: float | None = None
    """Growth over what the process held before it opened the model."""
    delegates: tuple[str, ...] = ()
    """What delegates took, a sentence each."""
    raw_ms: tuple[float, ...] = ()
    """Each inference, where the engine gives them."""
    gpu_interface: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """`OpenCL`, `OpenGL` or `Vulkan` where a GPU took part and the tool says through which."""


@dataclass(frozen=True)
class EngineFacts(Jsonable):
    """What runs artifacts; figures of two engines are never compared."""

    name: str
    version: str | None
    """None where the tool does not tell, and it is not from a place that does."""
    sha256: str | None
    source: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Where a program is from."""
    kind: Literal["TensorFlow Lite", "LiteRT"] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Whose benchmark_model it is, by the flags that it knows."""
    libraries: dict[str, str] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The SHA-256 of each library that was brought beside it, by its name."""

    @property
    def tool_sha256(self) -> str | None:
        """What tells a tool with its libraries from others; None where its digest is not known."""
        if self.sha256 is None or not self.libraries:
            return self.sha256
        return hashlib.sha256("".join([self.sha256, *sorted(self.libraries.values())]).encode()).hexdigest()


class Engine(ABC):
    """A tool that runs artifacts, ready on its device."""

    name: str

    @abstractmethod
    def describe(self) -> EngineFacts:
        """Return what identifies the tool."""

    @abstractmethod
    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file in a process of its own.

        Raises:
            DeviceError: The device was lost.
        """
