"""`mobilekit sweep`: many exports, measured, timed and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.output import err, out, print_json, print_whole, progress
from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from mobilekit.sweep.run import Summary

app = typer.Typer(help="Many exports at once: a matrix of models, sizes, precisions and devices.", no_args_is_help=True)

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="What is run: `mobilekit sweep schema`.")]

SweepFolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `mobilekit sweep run` made.")]


@app.command()
def run(
    file: SweepFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the sweep, which all workers see.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep that is there.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="With --resume: run what failed once more, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and an estimate, and run none.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="A dask scheduler; without, processes of this machine."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Processes of this machine; as cores and memory allow without.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where workers exchange bundles that do not all see -o: s3://BUCKET/SWEEP."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Run each cell of a sweep: export, diff, inspect for each target, bench; and keep the rows of each as it ends.

    A cell that fails has rows with the reason, and stops no other; exit code 1 if one did. What ended is never lost:
    --resume runs what is missing.

    Examples: `mobilekit sweep run docs/examples/sweep.yaml -o sweep --dry-run` ·
    `mobilekit sweep run sweep.yaml -o sweep` · `mobilekit sweep run sweep.yaml -o sweep --resume` ·
    `mobilekit sweep run sweep.yaml -o /shared/sweep --scheduler tcp://host:8786` ·
    `mobilekit sweep run sweep.yaml -o sweep --scheduler tcp://host:8786 --store s3://bucket/sweep`
    """
    from mobilekit.cli.render.sweep import plan_lines, summary_lines
    from mobilekit.sweep import job

    if scheduler is not None and workers is not None:
        raise UsageError("--workers is for processes of this machine.", "Leave it out, or --scheduler.")
    request = job.SweepRequest(file, output, resume, failed, scheduler, workers, store)
    if dry_run:
        planned = job.plan(request)
        if as_json:
            print_json(planned.to_json())
        for line in () if as_json else plan_lines(planned):
            out.print(line)
        return
    with progress("starting workers") as tell:
        summary = job.run(request, tell, lambda text: err.print(f"note: {text}"))
    if as_json:
        print_json(_content(summary, output))
    for line in () if as_json else summary_lines(summary, output):
        out.print(line)
    if summary.failed:
        raise typer.Exit(1)


def _content(summary: Summary, output: Path) -> dict[str, object]:
    return {
        "sweep": str(output),
        "done": [cell.label for cell in summary.done],
        "failed": [{"cell": cell.label, **ended.to_json()} for cell, ended in summary.failed],
    }


@app.command()
def show(
    sweep: SweepFolderArgument,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Of rows: `precision=int8`, `latency_ms<5`; several all hold."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What rows are sorted by; --sort=-COLUMN from the largest on.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show the rows of a sweep, and mark those that no other beats in size, latency and quality.

    Examples: `mobilekit sweep show sweep` · `mobilekit sweep show sweep --where precision=int8 --where parity=pass
    --sort latency_ms` · `mobilekit sweep show sweep --json`
    """
    from mobilekit.cli.render.sweep import rows_table
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.show import show as read

    check_installed()
    shown = read(sweep, where or (), sort)
    if not shown.rows:
        err.print(f"note: no row of {sweep} meets {' and '.join(where)}" if where else f"note: {sweep} has no rows yet")
    if as_json:
        print_json(shown.to_json())
        return
    print_whole(rows_table(shown))
    for row in shown.rows:
        if row["status"] == "failed":
            out.print(f"failed: {row['model']} {row['precision']}: {row['failed_step']}: {row['reason']}")
    for note in shown.notes:
        out.print(note)


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Folder of the earlier sweep.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of the later one.")],
    margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="Change of a latency or size that counts as none, as a share; 0.03 is 3 %."),
    ] = 0.03,
    as_json: options.Json = False,
) -> None:
    """Compare each file of a sweep with the same one of an earlier sweep: better, worse or inconclusive.

    Exit code 1 where one is worse beyond doubt: it fails, left its limits, grew, or its latency's whole 95 % interval
    lies above the margin; and where one is missing that the earlier sweep has.

    Examples: `mobilekit sweep compare sweep-0.2 sweep-0.3` · `mobilekit sweep compare old new --margin 0.05`
    """
    from mobilekit.cli.render.sweep import compared_lines, compared_table
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.compare import compare as run_compare

    check_installed()
    compared = run_compare(old, new, margin)
    if as_json:
        print_json(compared.to_json())
    else:
        print_whole(compared_table(compared))
        for line in compared_lines(compared):
            out.print(line)
    if compared.is_worse:
        raise typer.Exit(1)


@app.command("import")
def import_(
    into: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sweep, or of one to be made.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of other tools.")],
    model: Annotated[str | None, typer.Option(help="What the figures are of; perf.yaml says it.")] = None,
    precision: Annotated[str | None, typer.Option(help="Of the file that ran; perf.yaml says it.")] = None,
    device: Annotated[str | None, typer.Option(help="Where it ran; perf.yaml says it.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=64, help="Threads of the runtime.")] = None,
    as_json: options.Json = False,
) -> None:
    """Add figures of other tools to a sweep, as rows that say so.

    benchmark_model's `--result_file_path` and `--profiling_output_csv_file` (.csv), and perf.yaml of qai-hub-models.
    What they do not say stays empty; such rows have no interval, are never marked as best, and never worse or better.

    Examples: `mobilekit sweep import sweep perf.yaml` ·
    `mobilekit sweep import sweep result.pb --model ghostnetv2 --precision int8 --device "Pixel 6" --threads 1`
    """
    from mobilekit.cli.render.format import count
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.foreign import Told, import_files

    check_installed()
    done = import_files(into, files, Told(model, precision, device, threads))
    if as_json:
        print_json(done.to_json())
    else:
        out.print(f"{count(done.rows, 'row')} of {count(len(done.files), 'file')} imported into {into}.")


@app.command()
def log(
    sweep: SweepFolderArgument,
    mlflow: Annotated[str, typer.Option(metavar="URI", help="Of MLflow's tracking: a server, a database, a folder.")],
    experiment: Annotated[str | None, typer.Option(help="Its name; the folder's without.")] = None,
    files: Annotated[bool, typer.Option("--files/--no-files", help="With the exported files as artifacts.")] = True,
    as_json: options.Json = False,
) -> None:
    """Put the rows of a sweep into MLflow, a run each, but those that are there.

    A run has what was asked for as parameters, what was measured as metrics, and the row, the ledger and the file as
    artifacts. The extra `mlflow` installs what it needs.

    Examples: `mobilekit sweep log sweep --mlflow http://host:5000` ·
    `mobilekit sweep log sweep --mlflow sqlite:///mlflow.db --experiment widths --no-files`
    """
    from mobilekit.cli.render.format import count
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.log import log as run_log

    check_installed()
    with progress("connecting") as tell:
        done = run_log(sweep, mlflow, experiment, files=files, progress=tell)
    if as_json:
        print_json(done.to_json())
    else:
        out.print(f"{count(done.new, 'run')} logged into {done.experiment}; known before: {done.known}.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a sweep, for editors.

    Example: `mobilekit sweep schema > sweep.schema.json`
    """
    from mobilekit.sweep.schema import Sweep

    print_json(Sweep.model_json_schema())
