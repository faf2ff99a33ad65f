"""What is asked of benchmark_model, as its command line flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobilekit.errors import UsageError

Profile = Literal["none", "stdout", "csv", "proto"]

# Every version since 2019 knows these, and LiteRT's tool as well.
_VALUES = {
    "num_threads": "threads",
    "num_runs": "num_runs",
    "warmup_runs": "warmup_runs",
    "min_secs": "min_secs",
    "warmup_min_secs": "warmup_min_secs",
    "max_secs": "max_secs",
}
# Builds may lack these. An unknown flag makes a run worthless, so they stand only where they are asked for.
_DELEGATES = {"use_xnnpack": "xnnpack", "use_gpu": "gpu", "use_nnapi": "nnapi"}
_OPS = ("--enable_op_profiling=true", "--max_profiling_buffer_entries=16384")  # 1024, its default, drops ops
_PROFILES: dict[Profile, tuple[str, ...]] = {
    "none": (),
    "stdout": _OPS,
    "csv": (*_OPS, "--profiling_output_csv_file={file}"),
    "proto": (*_OPS, "--op_profiling_output_mode=proto", "--op_profiling_output_file={file}"),  # not in 2.14
}


@dataclass(frozen=True)
class Settings:
    """One way to run a model; the figures are the tool's own defaults, except for one thread.

    A run ends when both `num_runs` and `min_secs` are reached, or at `max_secs`.
    """

    threads: int = 1
    num_runs: int = 50
    warmup_runs: int = 1
    min_secs: float = 1.0
    warmup_min_secs: float = 0.5
    max_secs: float = 150.0
    xnnpack: bool | None = None
    """None leaves the choice to the tool: builds without XNNPACK do not know the flag."""
    gpu: bool = False
    nnapi: bool = False
    profile: Profile = "none"

    @property
    def wanted_delegate(self) -> str | None:
        """The delegate that these settings ask for, as the tool names it."""
        return "GPU" if self.gpu else "NNAPI" if self.nnapi else "XNNPACK" if self.xnnpack else None


def arguments(settings: Settings, graph: str, profile_file: str | None = None) -> list[str]:
    """Return the flags of one run, the graph first.

    Args:
        settings: How to run.
        graph: The model's path on the device.
        profile_file: Where on the device a profile as CSV or proto goes.

    Raises:
        UsageError: The profile needs a file, and there is none.
    """
    profile = _PROFILES[settings.profile]
    if any("{file}" in flag for flag in profile) and not profile_file:
        raise UsageError(f"A profile as {settings.profile} needs a file to go to.", "Name one, or take `stdout`.")
    delegates = [
        f"--{flag}={str(value).lower()}"
        for flag, field in _DELEGATES.items()
        if (value := getattr(settings, field)) or (field == "xnnpack" and value is not None)
    ]
    return [
        f"--graph={graph}",
        *(f"--{flag}={getattr(settings, field):.10g}" for flag, field in _VALUES.items()),
        *delegates,
        *(flag.format(file=profile_file) for flag in profile),
    ]
