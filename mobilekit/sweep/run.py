"""Run the cells of a sweep: a window of them at once, each a chain of tasks, and a file of rows as each ends."""

from __future__ import annotations

import errno
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mobilekit.errors import FullDiskError, ToolError
from mobilekit.sweep.cell import BENCH, Cell
from mobilekit.sweep.cluster import PHONE, STEP, Cluster
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.results import rows_of, without_result
from mobilekit.sweep.rows import write_rows
from mobilekit.sweep.steps import MOST_STARTS, Ended, Task, Work, in_child, run_step

if TYPE_CHECKING:
    from distributed import Future

Progress = Callable[[str], None]
WINDOW = 4
"""Cells at work for each step that can run at once: enough that no worker waits, and few enough that thousands of cells
need no more memory than tens."""
GONE_SECONDS = 300.0
"""How long a bench waits for a phone whose worker is gone."""
_LOOK_SECONDS = 2.0
"""How often the cluster is looked after while nothing ends."""
_IS_IT_THERE = "Each worker needs the same version of mobilekit; if all have it, this is a fault of it: report it."
_FETCH_SECONDS = 10.0
"""A result that takes longer to fetch lies on a worker that died: its step is submitted again, and is done by then."""


@dataclass
class Summary:
    """How the cells of a run ended."""

    done: list[Cell] = field(default_factory=list)
    failed: list[tuple[Cell, Ended]] = field(default_factory=list)


@dataclass
class _Chain:
    """A cell at work: its steps in their order, each a future that needs the one before."""

    cell: Cell
    futures: list[Future]
    phone: str = ""
    """What of a worker its bench waits for, where a worker announces that."""
    told: int = 0
    """How many of its steps were told of."""


def run_cells(
    cells: Iterable[Cell],
    folder: SweepFolder,
    base: str,
    cluster: Cluster,
    progress: Progress = lambda _message: None,
    work: Work = in_child,
) -> Summary:
    """Run cells, and write the rows of each as soon as it ends.

    A cell that fails has rows with the reason, and stops no other. A worker that dies takes nothing along: what its
    step did not end is started again, `steps.MOST_STARTS` times at most, and what only waited for it is not blamed.

    Args:
        cells: Those without rows.
        folder: Where the sweep lies.
        base: The folder that the cells' paths go from.
        cluster: Runs the steps.
        progress: Is told of each step that ended.
        work: Does a step; must be importable by the workers.

    Raises:
        FullDiskError: The disk is full. That is no cell's fault, and no row says so.
        ToolError: The scheduler is gone.
    """
    return _Run(folder, base, cluster, progress, work).all(cells)


def missing(cells: Sequence[Cell], folder: SweepFolder, again: Iterable[str] = ()) -> list[Cell]:
    """Return the cells without rows, and those of `again`, by their keys."""
    wanted = set(again)
    return [cell for cell in cells if cell.key in wanted or not folder.rows_of(cell).is_file()]


class _Run:
    def __init__(self, folder: SweepFolder, base: str, cluster: Cluster, progress: Progress, work: Work) -> None:
        self._folder, self._base, self._cluster, self._work = folder, base, cluster, work
        self._progress = progress
        self._name = uuid.uuid4().hex
        self._tries: dict[str, int] = {}
        self._summary = Summary()
        self._told: set[str] = set()
        self._gone: dict[str, float] = {}
        self._count = 0

    def all(self, cells: Iterable[Cell]) -> Summary:
        waiting, chains, width = deque(cells), list[_Chain](), self._cluster.width()
        self._count = len(waiting)
        while waiting or chains:
            while waiting and len(chains) < WINDOW * max(1, width):
                chains.append(self._submit(waiting.popleft()))
            is_idle = not self._wait(chains)
            self._cluster.check()
            if is_idle and not (width := self._cluster.width()):
                self._progress("no worker is there; waiting for one")
            chains = [left for chain in chains if (left := self._look_at(self._without_phone(chain)))]
        return self._summary

    def _submit(self, cell: Cell) -> _Chain:
        """Give a cell's steps to the cluster. Cells with one export share its tasks, by their keys."""
        futures: list[Future] = []
        for place, step in enumerate(cell.steps):
            store = self._folder.exchange.url if self._folder.exchange else None
            task = Task(step, cell.to_json(), str(self._folder.path), self._base, store)
            futures.append(
                self._cluster.client.submit(
                    run_step,
                    task,
                    futures[-1] if futures else None,
                    self._work,
                    key=self._key(cell, step),
                    pure=False,
                    retries=0,
                    resources=self._resources(cell, step),
                    # Cells that were begun come to their end first. But a local bench keeps the whole machine waiting:
                    # it comes when nothing else of the cells at work is to be done.
                    priority=-1 if step == BENCH and cell.device == "local" else place,
                )
            )
        phone = _phone(cell)
        return _Chain(cell, futures, phone if phone in self._cluster.resources else "")

    def _resources(self, cell: Cell, step: str) -> dict[str, float] | None:
        """Return what a step needs of its worker, where workers announce such things; see `sweep.worker`."""
        phone = _phone(cell) if step == BENCH else ""
        wanted = phone if phone in self._cluster.resources else STEP
        return {wanted: 1} if wanted in self._cluster.resources else None

    def _without_phone(self, chain: _Chain) -> _Chain:
        """Return a chain; one whose bench waits for a phone whose worker is gone for long, submitted without it.

        Dask would let it wait for ever. Without, it is tried anywhere, and fails with the reason.
        """
        if not chain.phone or chain.phone in self._cluster.resources:
            self._gone.pop(chain.phone, None)
            return chain
        since = self._gone.setdefault(chain.phone, time.monotonic())
        if time.monotonic() - since < GONE_SECONDS or chain.futures[-1].status != "pending":
            return chain
        self._cluster.client.cancel(chain.futures[-1:])
        self._count_try(chain)
        return replace(self._submit(chain.cell), told=chain.told)

    def _key(self, cell: Cell, step: str) -> str:
        """Return the name of a step's task: the same for cells that share the step, and another at each try.

        It is of this run alone: a scheduler takes tasks of one name for one task, whoever submits them, and what
        another run found lies in another folder.
        """
        name = f"{step}-{cell.key_of(step)}"
        return f"{name}-{self._tries.get(name, 0)}-{self._name}"

    def _wait(self, chains: Sequence[_Chain]) -> bool:
        """Wait until any step has ended, or it is time to look after the cluster; return whether one has."""
        from distributed import wait

        at_work = [chain.futures[chain.told] for chain in chains if chain.told < len(chain.futures)]
        try:
            with self._cluster.client.as_current():
                wait(at_work, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
        except Exception as error:  # nothing has ended, or the scheduler is lost
            if not _is_dasks(error):
                raise
            return False
        return True

    def _look_at(self, chain: _Chain) -> _Chain | None:
        """Return a chain that is still at work; of one that has ended, write the rows."""
        while chain.told < len(chain.futures):
            future = chain.futures[chain.told]
            if future.status == "pending":
                return chain
            if future.status != "finished":  # its worker died, or the scheduler lost it
                return self._again(chain)
            ended = self._result(chain.cell, chain.cell.steps[chain.told], future)
            if ended is None:
                return self._again(chain)
            self._tell(chain.cell, ended)
            if ended.is_disk_full:
                raise self._full()
            chain.told += 1
            if ended.why_not is not None or chain.told == len(chain.futures):
                self._close(chain.cell, ended)
                return None
        return None

    def _result(self, cell: Cell, step: str, future: Future) -> Ended | None:
        """Return how a step ended; None where its worker died before that could be fetched.

        What was found lies on the disk, and need not be fetched: only why a step failed does.
        """
        found = self._folder.place_of(cell, step).read()
        if found is not None:
            return Ended(step, seconds=found["seconds"])
        try:
            ended: Ended = future.result(timeout=_FETCH_SECONDS)
        except Exception as error:  # whatever dask makes of a lost worker
            self._cluster.check()
            if _is_dasks(error):
                return None
            raise
        return ended

    def _again(self, chain: _Chain) -> _Chain | None:
        """Submit a cell's steps once more, under new keys: those that were done are so at once."""
        self._cluster.check()
        cell, future = chain.cell, chain.futures[chain.told]
        step = cell.steps[chain.told]
        error = future.exception(timeout=_FETCH_SECONDS) if future.status == "error" else None
        if error is not None and not _is_dasks(error):
            ended = Ended(step, f"{type(error).__name__}: {error}", _IS_IT_THERE)
            self._close(cell, ended)
            return None
        self._count_try(chain)
        starts = self._folder.place_of(cell, step).starts
        if starts:
            self._progress(f"{cell.label_of(step)}: the worker of {step} died; start {min(starts + 1, MOST_STARTS)}")
        return self._submit(cell)

    def _count_try(self, chain: _Chain) -> None:
        """Let the steps of a chain that are not done be submitted under new keys."""
        cell = chain.cell
        for each, lost in zip(cell.steps[chain.told :], chain.futures[chain.told :], strict=True):
            if lost.key == self._key(cell, each):  # else another cell with this export has submitted it already
                name = f"{each}-{cell.key_of(each)}"
                self._tries[name] = self._tries.get(name, 0) + 1

    def _tell(self, cell: Cell, ended: Ended) -> None:
        step = f"{cell.label_of(ended.step)}: {ended.step}"
        if step not in self._told:
            self._told.add(step)
            came = f"failed: {ended.why_not}" if ended.why_not else f"took {ended.seconds:.1f} s"
            closed = len(self._summary.done) + len(self._summary.failed)
            self._progress(f"{step} {came} ({closed} of {self._count} cells done)")

    def _close(self, cell: Cell, ended: Ended) -> None:
        """Write the rows of a cell that ended."""
        try:
            self._folder.bring_bundle(cell)
            if ended.why_not is None:
                ended = without_result(cell, self._folder) or ended
            write_rows(self._folder.rows_of(cell), self._rows(cell, ended))
            self._folder.send_rows(cell)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from error
            raise ToolError(f"The rows of {cell.label} cannot be written: {error}.", "Go on with --resume.") from error
        if ended.why_not is None:
            self._summary.done.append(cell)
        else:
            self._summary.failed.append((cell, ended))

    def _rows(self, cell: Cell, ended: Ended) -> list[dict[str, Any]]:
        return rows_of(cell, self._folder, ended)

    def _full(self) -> FullDiskError:
        return FullDiskError(
            f"The disk of {self._folder.path} is full; the rows of all cells that ended are there.",
            "Make room, and go on with --resume.",
        )


def _phone(cell: Cell) -> str:
    """Return what a worker announces that has a cell's phone."""
    return PHONE + str(cell.device).partition(":")[2]


def _is_dasks(error: BaseException) -> bool:
    """Return whether an error is about the cluster, and not about a step."""
    module = type(error).__module__
    return isinstance(error, OSError | TimeoutError) or module.startswith(("distributed", "concurrent", "asyncio"))
