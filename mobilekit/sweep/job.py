"""A sweep from its file to its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekit.errors import InterruptedWork, MobilekitError, ToolError, UsageError
from mobilekit.store.stages import FORM_STAGES
from mobilekit.sweep.cell import EXPORT, Cell
from mobilekit.sweep.cluster import (
    Cluster,
    check_address,
    check_installed,
    open_cluster,
    workers_for_steps,
    workers_here,
)
from mobilekit.sweep.estimate import Estimate, estimate
from mobilekit.sweep.exchange import Exchange, check_store
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.load import LoadedSweep, load_sweep
from mobilekit.sweep.rows import read_rows
from mobilekit.sweep.run import Summary, missing, run_cells

Progress = Callable[[str], None]


@dataclass(frozen=True)
class SweepRequest:
    """What to run, and where."""

    file: Path
    folder: Path
    resume: bool = False
    """Go on with the sweep that is in the folder."""
    failed: bool = False
    """Run the cells that failed once more, too."""
    scheduler: str | None = None
    """Address of a cluster that exists; None: processes of this machine."""
    workers: int | None = None
    """Of this machine; as cores and memory allow without."""
    store: str | None = None
    """URL of what all workers reach, where that is not the folder."""

    @property
    def sweep_folder(self) -> SweepFolder:
        """Where the sweep lies."""
        return SweepFolder(self.folder.absolute(), None if self.store is None else Exchange(self.store))

    def check(self) -> None:
        """See that its words can be meant, before anything is read or written.

        Raises:
            UsageError: They cannot.
        """
        if self.failed and not self.resume:
            raise UsageError("--failed is for a sweep that is there.", "Add --resume.")
        if self.store is not None:
            check_store(self.store)


def plan(request: SweepRequest) -> Estimate:
    """Return what a run would do, and change nothing.

    Raises:
        ToolError: What sweeps need is not installed.
        UsageError: The sweep's file is wrong, or something else is in the folder.
    """
    check_installed()
    request.check()
    loaded, folder = load_sweep(request.file), request.sweep_folder
    folder.check(request.resume)
    cells = missing(loaded.cells, folder, _again(request))
    return estimate(cells, folder, request.workers or workers_here())


def run(request: SweepRequest, progress: Progress, note: Progress) -> Summary:
    """Run the cells of a sweep that have no rows yet.

    Args:
        request: What to run.
        progress: Is told of each step that ended.
        note: Is told what the user must know before.

    Raises:
        FullDiskError: The disk is full.
        InterruptedWork: Ctrl-C.
        ToolError: What sweeps need is not installed, or the scheduler is gone.
        UsageError: The sweep's file is wrong, or something else is in the folder.
    """
    check_installed()
    request.check()
    loaded, folder = load_sweep(request.file), request.sweep_folder
    folder.check(request.resume)
    if request.scheduler is None:
        check_tools(*_needed(loaded.cells))
    else:
        check_address(request.scheduler)
    if folder.exchange is not None:
        folder.exchange.begin(request.resume)
    for each in folder.begin(_content(loaded), request.resume):
        note(each)
    folder.share_rows()
    again = _again(request)
    for cell in loaded.cells:
        for step in sorted(again.get(cell.key, ())):
            folder.forget(cell, step)
    cells = missing(loaded.cells, folder, again)
    for cell in cells:
        folder.forget_lost(cell)
    if not cells:
        return Summary()
    with open_cluster(request.scheduler, request.workers) as cluster:
        if request.scheduler is not None:
            _check_workers(cluster, cells)
        progress(f"running {len(cells)} of {len(loaded.cells)} cells, {cluster.width()} at once")
        try:
            return run_cells(cells, folder, str(loaded.base), cluster, progress)
        except KeyboardInterrupt as error:
            raise InterruptedWork(
                "Interrupted; the rows of all cells that ended are there.", "Go on with --resume."
            ) from error


def _content(loaded: LoadedSweep) -> object:
    return loaded.sweep.model_dump(mode="json", exclude_defaults=True)


def _again(request: SweepRequest) -> dict[str, set[str]]:
    """Return the steps that failed by the keys of their cells, where these are to be run again."""
    if not request.failed:
        return {}
    found: dict[str, set[str]] = {}
    for row in read_rows(request.sweep_folder.rows):
        if row["status"] == "failed":
            found.setdefault(row["cell"], set()).add(row["failed_step"])
    return found


def _needed(cells: Sequence[Cell]) -> tuple[bool, bool, list[str]]:
    """Return whether cells make files at all and programs of ExecuTorch, and which targets they ask."""
    steps = dict.fromkeys(step for cell in cells for step in cell.steps)
    programs = any(FORM_STAGES[form].file_format == "pte" for cell in cells for form in cell.precisions)
    return EXPORT in steps, programs, [target for step in steps if (target := step.partition(":")[2])]


def check_tools(exports: bool, programs: bool, targets: Sequence[str]) -> None:
    """See before the work that this machine has the converters, ExecuTorch, and the compilers of the targets.

    Raises:
        MobilekitError: One is missing; the message says how to get it.
    """
    from mobilekit.artifacts.executorch import environment as executorch
    from mobilekit.convert.installed import check_installed as check_converters
    from mobilekit.targets.catalogue import find_target

    if exports:
        check_converters()
    if programs:
        executorch.versions()
    for target in targets:
        if problem := find_target(target).why_not():
            raise problem


def missing_tool(exports: bool, programs: bool, targets: Sequence[str]) -> tuple[str, str] | None:
    """Return what a worker lacks and how to get it; see `check_tools`."""
    try:
        check_tools(exports, programs, targets)
    except MobilekitError as error:
        return error.what, error.hint
    return None


def _check_workers(cluster: Cluster, cells: Sequence[Cell]) -> None:
    """See that each worker that takes steps has the tools of these cells.

    Raises:
        ToolError: One has not.
    """
    workers = workers_for_steps(cluster.client)
    found = cluster.client.run(missing_tool, *_needed(cells), workers=workers, on_error="return") if workers else {}
    for address, lack in found.items():
        if isinstance(lack, tuple):
            raise ToolError(f"The worker {address} cannot do the sweep: {lack[0]}", lack[1])
