"""The rows of a sweep as runs of MLflow: a run for each file of each cell, and never two for one row."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.errors import ToolError, UsageError, first_line, without_secrets
from mobilekit.store.files import sha256_of_json
from mobilekit.store.jsonable import Jsonable
from mobilekit.store.versions import installed_version
from mobilekit.sweep.folder import SweepFolder, read_sweep_note
from mobilekit.sweep.query import IDENTITY, Row
from mobilekit.sweep.rows import read_rows

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROW = "mobilekit.row"
"""The tag with a row's digest, by which it is known again."""
PARAMS = (*IDENTITY, "device_model", "engine", "statistic", "trained")
METRICS = (
    "latency_ms", "latency_low_ms", "latency_high_ms", "size_bytes", "partitions", "max_abs", "relative_l2", "cosine",
    "top1_agreement", "top1", "memory_mb", "export_seconds", "diff_seconds", "inspect_seconds", "bench_seconds",
)  # fmt: skip
TAGS = ("cell", "status", "failed_step", "reason", "parity", "sha256", "source_sha256", "host")
_LONGEST = 5000  # of a tag's value, in MLflow's own stores
_MOST_LETTERS = 300
_WITHOUT_SLASHES = ("databricks", "file:")  # addresses that MLflow knows all the same
_PAGE = 1000
_SETTINGS = {
    # MLflow waits minutes for a server that is not there, and tells its makers how it is used.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Logged(Jsonable):
    """What was logged."""

    sweep: str
    experiment: str
    new: int
    """Runs that were made now."""
    known: int
    """Rows that had a run already."""


def log(
    folder: Path,
    uri: str,
    experiment: str | None = None,
    *,
    files: bool = True,
    progress: Callable[[str], None] = lambda _message: None,
) -> Logged:
    """Log each row of a sweep as a run, but those that were logged before.

    A run that an earlier call did not finish is made anew.

    Args:
        folder: Of the sweep.
        uri: MLflow's tracking URI: a server, a database, or a folder.
        experiment: Its name; that of the folder without.
        files: Whether the artifacts have the exported files, beside the ledger and the row.
        progress: Is told of each run.

    Raises:
        ToolError: MLflow is not installed or failed, or a file of rows is damaged.
        UsageError: The folder is no sweep.
    """
    if installed_version("mlflow-skinny") is None and installed_version("mlflow") is None:
        raise ToolError("MLflow is not installed.", "In mobilekit's folder: pip install '.[mlflow]'")
    read_sweep_note(folder)
    _check_uri(uri)
    rows = read_rows(SweepFolder(folder).rows)
    name = experiment or folder.absolute().name
    with _mlflow_client(uri) as client:
        found = client.get_experiment_by_name(name)
        place = client.create_experiment(name) if found is None else found.experiment_id
        known = _known(client, place)
        new = 0
        for row in rows:
            digest = sha256_of_json({**row, "ended": row["ended"].isoformat()})
            if digest in known:
                continue
            progress(f"logging {_label(row)}")
            _log_row(client, place, row, digest, _paths(row, folder, files))
            new += 1
    return Logged(str(folder), name, new, len(rows) - new)


def _log_row(client: MlflowClient, experiment: str, row: Row, digest: str, paths: Sequence[Path]) -> None:
    """Make a run of a row. It is finished with its last call: one that is not was not logged."""
    from mlflow.entities import Metric, Param

    ended = int(row["ended"].timestamp() * 1000)
    tags = {f"mobilekit.{tag}": str(row[tag])[:_LONGEST] for tag in TAGS if row[tag] is not None}
    run = client.create_run(experiment, ended, {**tags, ROW: digest}, _label(row)).info.run_id
    client.log_batch(
        run,
        metrics=[Metric(metric, value, ended, 0) for metric, value in _figures(row)],
        params=[Param(param, str(row[param])) for param in PARAMS if row[param] is not None],
    )
    client.log_dict(run, {**row, "ended": row["ended"].isoformat()}, "row.json")
    for path in paths:
        if path.is_dir():  # a package for Core ML
            client.log_artifacts(run, str(path), path.name)
        else:
            client.log_artifact(run, str(path))
    client.set_terminated(run, "FINISHED" if row["status"] == "ok" else "FAILED", ended)


def _label(row: Row) -> str:
    return " ".join(filter(None, [row["model"], row["input_size"], row["precision"], row["device"]]))


def _paths(row: Row, folder: Path, files: bool) -> list[Path]:
    """Return the files of a row's bundle that are artifacts of its run."""
    if row["bundle"] is None:
        return []
    bundle = folder / row["bundle"]
    wanted = [bundle / "ledger.json", *([bundle / row["file"]] if files and row["file"] else [])]
    return [path for path in wanted if path.exists()]


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for metric in METRICS:
        value = row[metric]
        if value is not None and math.isfinite(value):
            yield metric, float(value)


def _known(client: MlflowClient, experiment: str) -> set[str]:
    """Return the digests of rows that were logged, and remove runs that were not finished."""
    digests, token = set(), None
    while True:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        for run in page:
            if ROW not in run.data.tags:
                continue
            if run.info.status == "RUNNING":
                client.delete_run(run.info.run_id)
            else:
                digests.add(run.data.tags[ROW])
        if not (token := page.token):
            return digests


def _check_uri(uri: str) -> None:
    """Refuse what MLflow would take as a folder of the one where this runs."""
    if "://" in uri or uri.startswith(_WITHOUT_SLASHES) or Path(uri).is_absolute():
        return
    raise UsageError(
        f"--mlflow {uri!r} is no address.",
        "Write http://HOST:PORT of a server, sqlite:///FILE of a database, or the absolute path of a folder.",
    )


def _is_silent(error: BaseException | None) -> bool:
    """Return whether an error came of a server that does not answer."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout

    while error is not None and not isinstance(error, NoConnection | Timeout):
        error = error.__cause__ or error.__context__
    return error is not None


@contextmanager
def _mlflow_client(uri: str) -> Iterator[MlflowClient]:
    """Give a client, and say in a sentence what goes wrong with it."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        yield mlflow.MlflowClient(tracking_uri=uri)
    except (MlflowException, OSError, ImportError) as error:
        if uri.startswith(("http://", "https://")) and _is_silent(error):
            raise ToolError(
                f"No MLflow server answers at {without_secrets(uri)}.",
                "Start one there by `mlflow server`, or see that its address is right and may be reached.",
            ) from error
        whole = uri.partition(":")[0].partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")
        hint = "A database needs all of MLflow: pip install mlflow. A server is reached with what is here."
        raise ToolError(f"MLflow: {without_secrets(first_line(error))[:_MOST_LETTERS]}.", hint * whole) from error
