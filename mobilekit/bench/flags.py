"""What is asked of benchmark_model, as its command line flags."""

from __future__ import annotations

from typing import Literal

from mobilekit.bench.engine import RunSettings
from mobilekit.errors import UsageError

ProfileKind = Literal["none", "stdout", "csv", "proto"]

# Builds may lack these. An unknown flag makes a run worthless, so they stand only where they are asked for.
_OPS = ("--enable_op_profiling=true", "--max_profiling_buffer_entries=16384")  # 1024, its default, drops ops
_PROFILES: dict[ProfileKind, tuple[str, ...]] = {
    "none": (),
    "stdout": _OPS,
    "csv": (*_OPS, "--profiling_output_csv_file={file}"),
    "proto": (*_OPS, "--op_profiling_output_mode=proto", "--op_profiling_output_file={file}"),  # not in 2.14
}


def arguments(
    settings: RunSettings, graph: str, profile: ProfileKind = "none", profile_file: str | None = None
) -> list[str]:
    """Return the flags of one run, the graph first.

    A phase ends after its number of inferences or at `max_seconds`, whichever comes first. Every version since 2019
    knows the flags that always stand, and LiteRT's tool as well.

    Args:
        settings: How to run.
        graph: The model's path on the device.
        profile: How the ops' times are to be given.
        profile_file: Where on the device a profile as CSV or proto goes.

    Raises:
        UsageError: The profile needs a file, and there is none.
    """
    words = _PROFILES[profile]
    if any("{file}" in flag for flag in words) and not profile_file:
        raise UsageError(f"A profile as {profile} needs a file to go to.", "Name one, or take `stdout`.")
    return [
        f"--graph={graph}",
        f"--num_threads={settings.threads}",
        f"--num_runs={settings.runs}",
        f"--warmup_runs={settings.warmup_runs}",
        "--min_secs=0",
        "--warmup_min_secs=0",
        f"--max_secs={settings.max_seconds:.10g}",
        *([f"--use_{settings.delegate}=true"] if settings.delegate else []),
        *(flag.format(file=profile_file) for flag in words),
    ]
