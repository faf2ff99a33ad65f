"""A sweep from its file to its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekit.errors import InterruptedWork, UsageError
from mobilekit.store.stages import FORM_STAGES
from mobilekit.sweep.cell import EXPORT, INSPECT, Cell
from mobilekit.sweep.cluster import check_address, check_installed, open_cluster, workers_here
from mobilekit.sweep.estimate import Estimate, estimate
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

    @property
    def sweep_folder(self) -> SweepFolder:
        """Where the sweep lies."""
        return SweepFolder(self.folder.absolute())


def plan(request: SweepRequest) -> Estimate:
    """Return what a run would do, and change nothing.

    Raises:
        ToolError: What sweeps need is not installed.
        UsageError: The sweep's file is wrong.
    """
    check_installed()
    loaded, folder = load_sweep(request.file), request.sweep_folder
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
    loaded, folder = load_sweep(request.file), request.sweep_folder
    if request.scheduler is None:
        _check_tools(loaded.cells)
    else:
        check_address(request.scheduler)
    for each in folder.begin(_content(loaded), request.resume):
        note(each)
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
    if not request.resume:
        raise UsageError("--failed is for a sweep that is there.", "Add --resume.")
    found: dict[str, set[str]] = {}
    for row in read_rows(request.sweep_folder.rows):
        if row["status"] == "failed":
            found.setdefault(row["cell"], set()).add(row["failed_step"])
    return found


def _check_tools(cells: Sequence[Cell]) -> None:
    """See before the work that this machine has the converters, ExecuTorch, and the compilers of the targets.

    Raises:
        MobilekitError: One is missing; the message says how to get it.
    """
    from mobilekit.artifacts.executorch import environment as executorch
    from mobilekit.convert.installed import check_installed as check_converters
    from mobilekit.targets.catalogue import find_target

    if any(EXPORT in cell.steps for cell in cells):
        check_converters()
    if any(FORM_STAGES[form].file_format == "pte" for cell in cells for form in cell.precisions):
        executorch.versions()
    steps = dict.fromkeys(step for cell in cells for step in cell.steps if step.startswith(f"{INSPECT}:"))
    for step in steps:
        if problem := find_target(step.partition(":")[2]).why_not():
            raise problem
