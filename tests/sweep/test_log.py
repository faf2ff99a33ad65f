"""Rows as runs of MLflow, in a store of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilekit.errors import ToolError, UsageError
from mobilekit.sweep import log as module
from mobilekit.sweep.log import log
from tests.cli.test_schema import check_closely
from tests.conftest import Cli
from tests.sweep.rows_by_hand import row, sweep_of

pytest.importorskip("pyarrow")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder as MLflow's store, which it wants to be asked for by name."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    bundle = tmp_path / "sweep" / "bundles" / "a"
    timed = row("a", "int8", [2.0, 2.5, 3.0], bundle="bundles/a", max_abs=float("nan"), device_model="Pixel 6")
    failed = row("b", "int8", status="failed", failed_step="export", reason="why", file=None, size_bytes=None)
    folder = sweep_of(tmp_path / "sweep", [timed, failed])
    bundle.mkdir(parents=True)
    (bundle / "ledger.json").write_text('{"stages": []}')
    (bundle / "model.int8.tflite").write_bytes(b"TFL3")
    return folder


def runs(store: str, name: str = "sweep") -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return {run.data.tags["mlflow.runName"]: run for run in found}


def artifacts(store: str, run: Any) -> set[str]:
    from mlflow import MlflowClient

    return {each.path for each in MlflowClient(tracking_uri=store).list_artifacts(run.info.run_id)}


def test_a_row_is_a_run(store: str, sweep: Path, tmp_path: Path) -> None:
    done = log(sweep, store)
    assert (done.experiment, done.new, done.known) == ("sweep", 2, 0)
    found = runs(store)
    timed, failed = found["a 224x224 int8 local"], found["b 224x224 int8"]
    assert timed.data.metrics == {
        "latency_ms": 2.5, "latency_low_ms": 2.0, "latency_high_ms": 3.0, "size_bytes": 1000.0, "relative_l2": 0.1,
    }  # fmt: skip
    params = timed.data.params
    assert (params["precision"], params["device_model"], params["threads"]) == ("int8", "Pixel 6", "1")
    assert (timed.info.status, timed.data.tags["mobilekit.parity"]) == ("FINISHED", "pass")
    assert (failed.info.status, failed.data.tags["mobilekit.reason"]) == ("FAILED", "why")
    assert artifacts(store, timed) == {"row.json", "ledger.json", "model.int8.tflite"}
    from mlflow import MlflowClient

    path = MlflowClient(tracking_uri=store).download_artifacts(timed.info.run_id, "row.json", str(tmp_path))
    assert json.loads(Path(path).read_text())["raw_ms"] == [2.0, 2.5, 3.0]


def test_a_package_is_a_folder(store: str, tmp_path: Path) -> None:
    folder = sweep_of(tmp_path / "sweep", [row("a", file="model.mlpackage", bundle="bundles/a")])
    package = folder / "bundles" / "a" / "model.mlpackage"
    package.mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    log(folder, store)
    from mlflow import MlflowClient

    [run] = runs(store).values()
    [inside] = MlflowClient(tracking_uri=store).list_artifacts(run.info.run_id, "model.mlpackage")
    assert inside.path == "model.mlpackage/Manifest.json"


def test_a_row_is_logged_once(store: str, sweep: Path) -> None:
    log(sweep, store)
    first = {run.info.run_id for run in runs(store).values()}
    done = log(sweep, store)
    assert (done.new, done.known) == (0, 2)
    assert {run.info.run_id for run in runs(store).values()} == first
    assert log(sweep, store, "other", files=False).new == 2
    assert artifacts(store, runs(store, "other")["a 224x224 int8 local"]) == {"row.json", "ledger.json"}


def test_a_run_that_was_not_finished_is_made_anew(store: str, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_words: object) -> list[Path]:
        return [sweep / "none"]

    with monkeypatch.context() as patch:
        patch.setattr(module, "_paths", broken)
        with pytest.raises(ToolError, match="MLflow: "):
            log(sweep, store)
    assert {run.info.status for run in runs(store).values()} == {"RUNNING"}
    assert log(sweep, store).new == 2
    assert sorted(run.info.status for run in runs(store).values()) == ["FAILED", "FINISHED"]


def test_a_server_that_is_not_there(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(ToolError, match=r"No MLflow server answers at http://127\.0\.0\.1:9/\.\nStart one") as caught:
        log(sweep, "http://me:hush@127.0.0.1:9/?k=HUSH")
    assert "hush" not in str(caught.value).lower()


@pytest.mark.parametrize("uri", ["", "nonsense", "host:5000", "./mlruns"])
def test_what_is_no_address(uri: str, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed_version", lambda _name: "3")
    with pytest.raises(UsageError, match=f"--mlflow '{uri}' is no address.\nWrite http://HOST:PORT"):
        log(sweep, uri)


def test_without_mlflow(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed_version", lambda _name: None)
    with pytest.raises(ToolError, match=r"MLflow is not installed\.\n.*pip install '\.\[mlflow\]'"):
        log(sweep, "mlruns")


def test_what_is_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed_version", lambda _name: "3")
    with pytest.raises(UsageError, match="is not a sweep"):
        log(tmp_path, "mlruns")


def test_the_command(cli: Cli, store: str, sweep: Path) -> None:
    done = cli("sweep", "log", sweep, "--mlflow", store)
    assert (done.returncode, done.stdout) == (0, "2 runs logged into sweep; known before: 0.\n"), done.stderr
    check_closely("sweep-log", json.loads(cli("sweep", "log", sweep, "--mlflow", store, "--json").stdout))
