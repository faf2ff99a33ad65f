"""The steps of a cell as dask's workers run them: each in a process of its own, and never twice to its end.

A worker is light: torch, the converters and the runtimes are the child's. So it answers its scheduler at any time, it
outlives what ends a tool, and its death ends the child. What a step found is on the disk before it is a result: a step
that is started again, as dask does when a worker dies or is not heard of, finds that and does nothing.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mobilekit.errors import FullDiskError, MobilekitError
from mobilekit.store.jsonable import Jsonable
from mobilekit.store.worker import WorkerError, run_json_worker
from mobilekit.sweep.cell import EXPORT, Cell
from mobilekit.sweep.exchange import Exchange
from mobilekit.sweep.folder import StepPlace, SweepFolder

MOST_STARTS = 3
"""How often a step is started whose worker dies: once may be chance, twice bad luck."""


@dataclass(frozen=True)
class Ended(Jsonable):
    """How a step ended. It travels through the scheduler, so it is small; what was found lies on the disk."""

    step: str
    why_not: str | None = None
    """Why it failed, a sentence; None where it did not."""
    hint: str = ""
    """What to do next."""
    is_disk_full: bool = False
    """Nothing is wrong with the cell then."""
    seconds: float = 0.0
    """What it took."""


@dataclass(frozen=True)
class Task:
    """A step of a cell, and where its sweep lies."""

    step: str
    cell: Mapping[str, Any]
    """As `Cell.to_json` has it."""
    folder: str
    """The sweep's."""
    base: str
    """The folder that paths in the cell go from."""
    store: str | None = None
    """URL of the exchange, where the sweep's folder is not one that all workers see."""

    @property
    def sweep_folder(self) -> SweepFolder:
        """The sweep's folder."""
        return SweepFolder(Path(self.folder), None if self.store is None else Exchange(self.store))

    @property
    def place(self) -> StepPlace:
        """Where it notes what it does."""
        return self.sweep_folder.place_of(Cell.from_json(self.cell), self.step)


Work = Callable[[Task], dict[str, Any]]
"""Does a step, and returns what it found as JSON data; see `in_child`."""


class StepError(Exception):
    """A step could not be done.

    Args:
        what: Why, a sentence.
        hint: What to do next.
    """

    def __init__(self, what: str, hint: str = "", *, is_disk_full: bool = False) -> None:
        super().__init__(what)
        self.what, self.hint, self.is_disk_full = what, hint, is_disk_full


def run_step(task: Task, before: Ended | None, work: Work) -> Ended:
    """Run a step, where the one before it did not fail and it is not done yet.

    Args:
        task: The step.
        before: How the one before it ended; None for the first.
        work: Does it.
    """
    if before is not None and before.why_not is not None:
        return before
    if task.store is None:
        return _run_here(task, work)
    with TemporaryDirectory(prefix="mobilekit-step-", ignore_cleanup_errors=True) as scratch:
        return _run_here(replace(task, folder=scratch), work)


def _run_here(task: Task, work: Work) -> Ended:
    """Run a step in a folder that is there."""
    began = time.monotonic()
    try:
        place = task.place
        if place.read() is not None:
            return Ended(task.step)
        if place.starts >= MOST_STARTS:
            return Ended(task.step, f"its worker died or was lost {place.starts} times while it ran", "See its memory.")
        place.note_start()
        with place.alone():
            if place.read() is None:  # a worker that was thought dead may have done it meanwhile
                folder, cell = task.sweep_folder, Cell.from_json(task.cell)
                folder.bring_bundle(cell)
                found = work(task)
                sent = folder.send_bundle(cell) if task.step == EXPORT else {}
                seconds = time.monotonic() - began
                place.write({"found": found, "host": socket.gethostname(), "seconds": seconds, **sent})
    except (StepError, MobilekitError) as error:
        full = isinstance(error, FullDiskError) or (isinstance(error, StepError) and error.is_disk_full)
        return Ended(task.step, error.what, error.hint, full, time.monotonic() - began)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Ended(task.step, f"{error.strerror or error}", "", full, time.monotonic() - began)
    return Ended(task.step, seconds=time.monotonic() - began)


def in_child(task: Task) -> dict[str, Any]:
    """Do a step in a process of its own, which ends with this one.

    Raises:
        StepError: It failed, or its process ended.
    """
    request = {"step": task.step, "cell": dict(task.cell), "folder": task.folder, "base": task.base}
    environment = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        reply: dict[str, Any] = run_json_worker("mobilekit.sweep.child", request, environment=environment)
    except WorkerError as error:
        raise StepError(f"its process {error.ending}: {error.words}") from error
    if "why_not" in reply:
        raise StepError(reply["why_not"], reply["hint"], is_disk_full=reply["is_disk_full"])
    return reply


def forget_starts(place: StepPlace) -> None:
    """Let a step be started as often as any."""
    with suppress(FileNotFoundError):
        (place.folder / f"{place.name}.starts").unlink()
