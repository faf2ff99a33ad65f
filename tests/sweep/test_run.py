"""A sweep on a real cluster of processes: nothing is lost, and nothing runs to its end twice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mobilekit.errors import FullDiskError, ToolError
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.folder import SweepFolder

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

from mobilekit.sweep import run as runs
from mobilekit.sweep.cluster import Cluster, open_cluster
from mobilekit.sweep.rows import read_rows
from mobilekit.sweep.run import missing, run_cells
from tests.conftest import ROOT
from tests.sweep.noop import lines, step

pytestmark = pytest.mark.slow  # processes are started, and killed


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two processes, of which one that dies is missed in a second."""
    with open_cluster(workers=2, **{"distributed.deploy.lost-worker-timeout": "1 s"}) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path / "sweep")
    made.begin({}, resume=False)
    return made


def cells(*models: str) -> list[Cell]:
    return [Cell(model, precisions=("float32", "int8"), device="adb:A", diff=False, bench={}) for model in models]


def run(cluster: Cluster, folder: SweepFolder, asked: list[Cell], told: list[str] | None = None) -> runs.Summary:
    return run_cells(asked, folder, "/", cluster, (told if told is not None else []).append, step)


def ended(folder: SweepFolder) -> Counter[tuple[str, str]]:
    """Return how often each step of each model came to its end."""
    return Counter((words[1], words[2]) for words in lines(folder) if words[0] == "end")


def status(folder: SweepFolder) -> dict[str, str]:
    return {row["model"]: row["status"] for row in read_rows(folder.rows)}


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a condition holds, while the test goes on."""

    def wait() -> None:
        while not condition():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def starts(folder: SweepFolder, model: str) -> list[int]:
    """Return the process of each start of a model's bench."""
    return [int(words[3]) for words in lines(folder) if words[:3] == ["start", "bench", model]]


def test_each_step_of_each_cell_runs_once_and_each_cell_has_a_row_a_file(cluster: Cluster, folder: SweepFolder) -> None:
    told: list[str] = []
    asked = cells(*"abcdefghij")
    summary = run(cluster, folder, asked, told)
    assert (len(summary.done), summary.failed) == (10, [])
    assert ended(folder) == {(name, model): 1 for model in "abcdefghij" for name in ("export", "bench")}
    rows = read_rows(folder.rows)
    assert [(row["model"], row["precision"], row["status"]) for row in rows] == [
        (model, precision, "ok") for model in "abcdefghij" for precision in ("float32", "int8")
    ]
    assert len(told) == len({line.partition(" took ")[0] for line in told}) == 20
    assert missing(asked, folder) == []


def test_a_run_in_another_folder_takes_nothing_from_one_before(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of two people who sweep the same cells on one scheduler at a time: it still knows the first one's tasks."""
    known, submit = [], cluster.client.submit

    def kept(*args: object, **kwargs: object) -> object:
        known.append(submit(*args, **kwargs))
        return known[-1]

    monkeypatch.setattr(cluster.client, "submit", kept)
    for name in ("one", "other"):
        folder = SweepFolder(tmp_path / name)
        folder.begin({}, resume=False)
        assert run(cluster, folder, cells("a", "b")).failed == []
        assert ended(folder) == {(step, model): 1 for step in ("export", "bench") for model in "ab"}
    assert len({future.key for future in known}) == 8


def test_cells_of_one_export_share_it(cluster: Cluster, folder: SweepFolder) -> None:
    asked = [Cell("a", precisions=("float32",), device="adb:A", diff=False, threads=threads) for threads in (1, 2, 4)]
    assert len(run(cluster, folder, asked).done) == 3
    assert ended(folder) == {("export", "a"): 1, ("bench", "a"): 3}


def test_a_cell_that_fails_has_rows_with_the_reason_and_stops_no_other(cluster: Cluster, folder: SweepFolder) -> None:
    summary = run(cluster, folder, cells("a", "fails", "raises", "b"))
    assert {cell.model for cell, _ended in summary.failed} == {"fails", "raises"}
    assert status(folder) == {"a": "ok", "b": "ok", "fails": "failed", "raises": "failed"}
    row = next(row for row in read_rows(folder.rows) if row["model"] == "fails")
    assert (row["failed_step"], row["reason"], row["hint"]) == ("bench", "the phone is on fire", "Put it out.")
    row = next(row for row in read_rows(folder.rows) if row["model"] == "raises")
    assert row["reason"] == "ValueError: a bug"


def test_what_kills_its_worker_is_given_up_and_no_bystander_is_blamed(cluster: Cluster, folder: SweepFolder) -> None:
    summary = run(cluster, folder, cells("a", "dies", "b", "c", "d", "e"))
    assert [(cell.model, end.step) for cell, end in summary.failed] == [("dies", "bench")]
    assert "its worker died or was lost 3 times" in str(summary.failed[0][1].why_not)
    assert len(starts(folder, "dies")) == 3
    assert status(folder) == {**dict.fromkeys("abcde", "ok"), "dies": "failed"}
    assert set(ended(folder).values()) == {1}


def test_a_worker_that_is_killed_twice_loses_nothing(cluster: Cluster, folder: SweepFolder) -> None:
    """The second time while the first death is still looked into: dask then gives the worker up for good."""

    def kill(number: int) -> threading.Thread:
        return when(
            lambda: len(starts(folder, "gate-a")) >= number,
            lambda: os.kill(starts(folder, "gate-a")[number - 1], signal.SIGKILL),
        )

    threads = [kill(1), kill(2)]
    threads.append(when(lambda: len(starts(folder, "gate-a")) == 3, (folder.path / "open").touch))
    summary = run(cluster, folder, cells("gate-a", "b", "c"))
    for thread in threads:
        thread.join(10)
    assert summary.failed == []
    assert status(folder) == dict.fromkeys(["gate-a", "b", "c"], "ok")
    assert ended(folder) == {(name, model): 1 for model in ("gate-a", "b", "c") for name in ("export", "bench")}
    deadline = time.monotonic() + 30
    while len(cluster.client.scheduler_info()["workers"]) < 2 and time.monotonic() < deadline:
        cluster.check()
        time.sleep(0.1)
    assert len(cluster.client.scheduler_info()["workers"]) == 2


def test_a_worker_that_is_stopped_and_comes_back_does_no_step_twice(folder: SweepFolder) -> None:
    """After worker-ttl the step is given to another worker, which waits for the lock that the stopped one holds."""
    with open_cluster(workers=2, **{"distributed.scheduler.worker-ttl": "2 s"}) as two:
        place = folder.place_of(cells("gate-a")[0], "bench")

        def go_on() -> None:
            (folder.path / "open").touch()
            with suppress(ProcessLookupError):  # its nanny may have ended it
                os.kill(starts(folder, "gate-a")[0], signal.SIGCONT)

        stopped = when(
            lambda: len(starts(folder, "gate-a")) == 1,
            lambda: os.kill(starts(folder, "gate-a")[0], signal.SIGSTOP),
        )
        back = when(lambda: place.starts == 2, go_on)
        summary = run(two, folder, cells("gate-a", "b"))
        stopped.join(10)
        back.join(10)
    assert summary.failed == []
    assert place.starts == 2
    assert status(folder) == dict.fromkeys(["gate-a", "b"], "ok")
    assert ended(folder) == {(name, model): 1 for model in ("gate-a", "b") for name in ("export", "bench")}


def test_what_ended_before_is_not_run_again(cluster: Cluster, folder: SweepFolder) -> None:
    """As after a run that was killed between the steps of a cell, and between its last step and its rows."""
    asked = cells("a", "b", "c")
    assert run(cluster, folder, asked).failed == []
    folder.rows_of(asked[0]).unlink()
    folder.rows_of(asked[1]).unlink()
    folder.place_of(asked[1], "bench").result.unlink()
    assert missing(asked, folder) == asked[:2]
    folder.begin({}, resume=True)
    run(cluster, folder, missing(asked, folder))
    assert status(folder) == dict.fromkeys("abc", "ok")
    assert ended(folder) == {("export", "a"): 1, ("bench", "a"): 1, ("export", "b"): 1, ("bench", "b"): 2,
                             ("export", "c"): 1, ("bench", "c"): 1}  # fmt: skip


def test_a_full_disk_of_a_worker_ends_the_run_and_is_no_cells_fault(cluster: Cluster, folder: SweepFolder) -> None:
    with pytest.raises(FullDiskError, match="is full"):
        run(cluster, folder, cells("a", "full", "b"))
    assert "full" not in status(folder)


def test_a_full_disk_under_the_rows_leaves_no_half_of_them(
    cluster: Cluster, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    def full(_table: object, where: Path) -> None:
        where.write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    asked = cells("a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(FullDiskError) as raised:
            run(cluster, folder, asked)
    assert "--resume" in raised.value.hint
    assert list(folder.rows.iterdir()) == []
    run(cluster, folder, missing(asked, folder))
    assert status(folder) == dict.fromkeys("ab", "ok")


SCHEDULER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


def test_a_scheduler_that_is_gone_is_told_and_nothing_is_lost(folder: SweepFolder) -> None:
    asked = cells("a", "gate-b")
    script = folder.path / "scheduler.py"
    script.write_text(SCHEDULER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            address = process.stdout.readline().strip()
            when(lambda: bool(starts(folder, "gate-b")) and folder.rows_of(asked[0]).exists(), process.kill)
            with (
                open_cluster(address, **{"distributed.comm.timeouts.connect": "2 s"}) as there,
                pytest.raises(ToolError, match=r"scheduler .* is gone"),
            ):
                run(there, folder, asked)
        finally:
            process.kill()
    assert status(folder) == {"a": "ok"}
    assert missing(asked, folder) == asked[1:]
