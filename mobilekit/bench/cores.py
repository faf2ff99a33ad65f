"""Which cores runs are pinned to, and what to know of the choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mobilekit.bench.devices.base import Core, DeviceFacts
from mobilekit.errors import UsageError

_NAME_THEM = "Give a mask of cores that are on: --cpus f0 is cores 4 to 7; or leave --cpus out."


def mask_of(facts: DeviceFacts, mask: str | None, threads: int, *, big: bool) -> str | None:
    """Return the cores to pin runs to, hexadecimal; None leaves the choice to the device.

    Args:
        facts: The device.
        mask: The cores that are asked for.
        threads: How many threads a run has.
        big: The big cores are asked for instead.

    Raises:
        UsageError: The big cores are asked for, and the device does not tell which they are, or they are off; or it
            has none of the cores that are asked for.
    """
    if big:
        return big_cores(facts.cores, threads)
    if mask and facts.cores and not _inside(facts.cores, mask):
        raise UsageError(f"{facts.name} has no core in the mask {mask}.", f"All it has: --cpus {_mask(facts.cores)}.")
    return mask


def big_cores(cores: Sequence[Core], threads: int = 1) -> str:
    """Return the mask of the fastest cores: whole clusters, as many as there are threads for, but for the slowest.

    TensorFlow Lite's guide runs four threads on a phone's four big cores; one of those may have a cluster of its own.

    Raises:
        UsageError: The device does not tell its cores' frequencies, or some cores are off, which may be the big ones.
    """
    if not any(core.max_khz for core in cores):
        raise UsageError("The device does not tell which of its cores are the big ones.", "Give a mask: --cpus f0.")
    for dim, what in (
        ([core for core in cores if core.online is False], "are off"),
        ([core for core in cores if not core.max_khz], "do not tell their frequency"),
    ):
        if dim:
            raise UsageError(
                f"Which cores are the big ones cannot be told, as cores {_listed(dim)} {what}: "
                "heat or a battery saver may have switched them off.",
                _NAME_THEM,
            )
    clusters = sorted({core.max_khz or 0 for core in cores}, reverse=True)
    chosen: list[Core] = []
    for place, khz in enumerate(clusters):
        if chosen and (len(chosen) >= threads or place == len(clusters) - 1):
            break
        chosen += [core for core in cores if core.max_khz == khz]
    return _mask(chosen)


def notes_on(facts: DeviceFacts, mask: str | None, threads: int) -> Iterator[str]:
    """Yield what to know of runs on these cores: those that are off, and threads that share one."""
    named = _inside(facts.cores, mask) if mask else list(facts.cores)
    off = [core for core in named if core.online is False]
    if off:
        where = f" of the mask {mask}" if mask else ""
        yield f"Switched off when the bench began, so that no run had them: cores {_listed(off)}{where}."
    running = len(named) - len(off)
    if 0 < running < threads:
        yield f"{threads} threads shared {running} {'core' if running == 1 else 'cores'}: fewer threads may be quicker."


def _inside(cores: Sequence[Core], mask: str) -> list[Core]:
    return [core for core in cores if int(mask, 16) >> core.index & 1]


def _mask(cores: Sequence[Core]) -> str:
    return f"{sum(1 << core.index for core in cores):x}"


def _listed(cores: Sequence[Core]) -> str:
    """Return `4-7` or `1, 4-7`, the cores' numbers."""
    runs: list[list[int]] = []
    for index in sorted(core.index for core in cores):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
