"""Figures that other tools measured, as rows of a sweep that say so.

What a tool's file does not say stays empty: no interval is made of a mean, and no memory of a peak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mobilekit.errors import ToolError, UsageError, first_line
from mobilekit.recipes.faults import read_document
from mobilekit.store.files import sha256_of, sha256_of_json
from mobilekit.store.jsonable import Jsonable
from mobilekit.sweep.cell import BENCH
from mobilekit.sweep.folder import SweepFolder, read_sweep_note
from mobilekit.sweep.query import IMPORTED
from mobilekit.sweep.rows import COLUMNS, write_rows

_DIGITS = 12
_US = 1000.0  # in a millisecond
_OPTIONS = {"model": "--model", "precision": "--precision", "device": "--device"}
_PASSED = "Passed"
"""What a job of Qualcomm's AI Hub ends with; others have no figures."""
_KINDS = (
    "Import a perf.yaml of qai-hub-models (.yaml), or what benchmark_model wrote by --result_file_path (a protocol "
    "buffer) or by --profiling_output_csv_file (.csv)."
)
_SHAPE = "It is a perf.yaml of qai-hub-models, from 2025 on: precisions, components, performance_metrics."


@dataclass(frozen=True)
class Told:
    """What the user says of figures; None: the file says it, or nobody knows."""

    model: str | None = None
    precision: str | None = None
    device: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Figure:
    """One figure of a file, and what it is of."""

    tool: str
    told: Told
    latency_ms: float | None
    statistic: str | None
    """What the latency is of the tool's inferences."""
    reason: str | None = None
    """Why there is no latency."""
    delegates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported(Jsonable):
    """What was imported."""

    sweep: str
    files: tuple[str, ...]
    rows: int


def import_files(folder: Path, paths: list[Path], told: Told) -> Imported:
    """Write the figures of files as rows into a sweep, or into one that is made for them.

    A file that is imported again with the same words replaces its rows.

    Args:
        folder: Of the sweep.
        paths: Results of benchmark_model (`--result_file_path`, or `--profiling_output_csv_file`), or perf.yaml files.
        told: What the files do not say.

    Raises:
        ToolError: A file cannot be read.
        UsageError: The folder is something else, a file is none of these, or does not say what it is about.
    """
    if (folder.exists() and not (folder / "sweep.json").exists()) and (folder.is_file() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is not a sweep.", "Name the folder of one, or one that is not there: it is made for these rows."
        )
    if absent := next((path for path in paths if not path.exists()), None):
        raise UsageError(f"There is no file {absent}.", _KINDS)
    found = {path: _rows_of(path, told) for path in paths}  # all of them, before anything is written
    sweep = SweepFolder(folder)
    if (folder / "sweep.json").exists():
        read_sweep_note(folder)
    else:
        sweep.begin({}, resume=False)
    for rows in found.values():
        write_rows(sweep.rows / f"{rows[0]['cell']}.parquet", rows)
    return Imported(str(folder), tuple(map(str, paths)), sum(map(len, found.values())))


def _rows_of(path: Path, told: Told) -> list[dict[str, Any]]:
    try:
        digest = sha256_of(path)
        figures = list(_figures(path, told))
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"{path} cannot be read: {first_line(error)}.") from error
    if not figures:
        raise UsageError(f"{path} has no figures.", _SHAPE if path.suffix in (".yaml", ".yml") else "")
    for figure in figures:
        missing = [option for name, option in _OPTIONS.items() if getattr(figure.told, name) is None]
        if missing:
            raise UsageError(f"{path} does not say what it is of.", f"Say it by {', '.join(missing)}.")
    cell = f"imported-{sha256_of_json([digest, *vars(told).values()])[:_DIGITS]}"
    return [_row(figure, cell, digest) for figure in figures]


def _row(figure: Figure, cell: str, digest: str) -> dict[str, Any]:
    failed = figure.latency_ms is None
    return {
        **dict.fromkeys(column.name for column in COLUMNS),
        "cell": cell,
        "status": "failed" if failed else "ok",
        "failed_step": BENCH if failed else None,
        "reason": figure.reason,
        "model": figure.told.model,
        "model_options": "{}",
        "precision": figure.told.precision,
        "device": figure.told.device,
        "threads": figure.told.threads,
        "targets": [],
        "latency_ms": figure.latency_ms,
        "statistic": figure.statistic,
        "delegates": list(figure.delegates),
        "source": IMPORTED,
        "tool": figure.tool,
        "source_sha256": digest,
        "ended": datetime.now(UTC),
    }


def _figures(path: Path, told: Told) -> Iterator[Figure]:
    """Yield the figures of a file, by the kind that its name says."""
    if path.suffix in (".yaml", ".yml"):
        yield from _of_ai_hub(path, told)
    elif path.suffix == ".csv":
        yield _of_profile(path, told)
    else:
        yield _of_results(path, told)


def _of_results(path: Path, told: Told) -> Figure:
    """Read benchmark_model's protocol buffer of results."""
    from mobilekit.bench.result_file import parse_result_file

    try:
        found = parse_result_file(path.read_bytes())
    except ToolError as error:
        raise UsageError(f"{path} is no file of results.", _KINDS) from error
    figure, statistic = (found.median_us, "median") if found.median_us is not None else (found.mean_us, "mean")
    if figure is None:
        raise UsageError(f"{path} has no latency.", "Import what benchmark_model wrote by --result_file_path.")
    return Figure("benchmark_model", told, figure / _US, statistic)


def _of_profile(path: Path, told: Told) -> Figure:
    """Read benchmark_model's profile: the sum of its ops, each timed by itself."""
    from mobilekit.bench.op_profile import parse_op_profile

    profile = parse_op_profile(path.read_text())
    if not profile.run or not profile.is_possible:
        raise UsageError(
            f"{path} has no profile of ops.", "Import what benchmark_model wrote by --profiling_output_csv_file."
        )
    total = sum(op.mean_us * max(1, op.times_called or 1) for op in profile.run)
    return Figure("benchmark_model profile", told, total / _US, "sum of the ops' means, with the profiler on")


def _of_ai_hub(path: Path, told: Told) -> Iterator[Figure]:
    """Read a perf.yaml of qai-hub-models: a figure for each precision, component, device and runtime."""
    content, _lines = read_document(path.read_text(encoding="utf-8"), str(path))
    for precision, of_precision in _items(content, "precisions"):
        for component, of_component in _items(of_precision, "components"):
            for device, runtimes in _items(of_component, "performance_metrics"):
                for runtime, job in _items({"runtimes": runtimes}, "runtimes"):
                    if "llm_metrics" in job:  # tokens a second, of a context's length: no latency of an inference
                        continue
                    said = Told(told.model or component, told.precision or precision, told.device or device)
                    yield _of_job(runtime, job, replace(said, threads=told.threads))


def _of_job(runtime: str, job: Mapping[str, Any], told: Told) -> Figure:
    latency, status = job.get("inference_time_milliseconds"), job.get("job_status")
    tool = f"qai-hub {runtime}"
    is_figure = isinstance(latency, int | float) and not isinstance(latency, bool) and 0 < latency < float("inf")
    if status != _PASSED or not is_figure:
        return Figure(tool, told, None, None, f"the job {job.get('job_id')} ended as {status}")
    counts, unit = job.get("layer_counts") or {}, job.get("primary_compute_unit")
    took = counts.get(str(unit).lower()) if isinstance(counts, Mapping) else None
    delegates = (f"{unit} {took} of {counts.get('total')}",) if took is not None else ()
    assert latency is not None
    return Figure(tool, told, float(latency), "the hub's estimate", delegates=delegates)


def _items(content: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the entries of a mapping in a mapping; of what is none, nothing."""
    found = content.get(key) if isinstance(content, Mapping) else None
    for name, entry in found.items() if isinstance(found, Mapping) else ():
        if isinstance(entry, Mapping):
            yield str(name), entry
