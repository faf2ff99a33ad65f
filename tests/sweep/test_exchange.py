"""Workers that see no common folder, and what they exchange."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilekit.errors import FullDiskError, ToolError, UsageError
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.steps import MOST_STARTS, Ended, StepError, Task, run_step

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

from mobilekit.sweep.cluster import Cluster, open_cluster
from mobilekit.sweep.exchange import Exchange, check_store
from mobilekit.sweep.rows import read_rows
from mobilekit.sweep.run import missing, run_cells
from tests.old_bundle import OLD_BUNDLE

CELL = Cell("ghostnet", precisions=("float32", "int8"), targets=("cpu",))


@pytest.fixture(params=["memory", "file"])
def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Exchange]:
    """An object store of this process, and a folder."""
    if request.param == "file":
        yield Exchange((tmp_path / "store").as_uri())
        return
    import fsspec

    yield Exchange("memory://sweep")
    fsspec.filesystem("memory").store.clear()


def step(task: Task) -> dict[str, Any]:
    """Make a bundle, or look at the one that another worker made; note which steps ran, beside the bundle or not."""
    folder = SweepFolder(Path(task.folder))
    bundle = folder.bundle_of(Cell.from_json(task.cell))
    with (Path(task.base) / "log").open("a") as log:
        log.write(f"{task.step} {task.cell['model']} {bundle.is_dir()}\n")
    if task.cell["model"] == "faulty":
        raise StepError("no such width")
    if task.step == "export":
        shutil.copytree(OLD_BUNDLE, bundle)
        return {}
    if task.step == "diff":
        found: dict[str, Any] = json.loads((bundle / "ledger.json").read_text())
        return found
    return {"answers": []}


def log_of(base: Path) -> Counter[str]:
    return Counter((base / "log").read_text().splitlines())


def test_objects_are_whole_or_not_there(exchange: Exchange, tmp_path: Path) -> None:
    assert exchange.get_bytes("a/b") is None and exchange.names("a") == []
    exchange.put_bytes("a/b", b"one")
    exchange.put_bytes("a/b", b"two")
    exchange.put_bytes("a/c/d", b"")
    assert exchange.get_bytes("a/b") == b"two" and exchange.names("a") == ["b", "c/d"]
    exchange.get_file("a/b", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == b"two"
    exchange.remove("a/c")
    exchange.remove("a/c")
    assert exchange.names("a") == ["b"] and exchange.names("parts") == []
    with pytest.raises(ToolError):
        exchange.get_file("none", tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["new"]


def test_a_folder_travels_whole(exchange: Exchange, tmp_path: Path) -> None:
    first, second = (exchange.put_folder("bundles/a", OLD_BUNDLE) for _ in range(2))
    assert first != second
    exchange.get_folder(first, tmp_path / "here" / "a")
    names = sorted(path.relative_to(OLD_BUNDLE) for path in OLD_BUNDLE.rglob("*") if path.is_file())
    got = sorted(path.relative_to(tmp_path / "here" / "a") for path in (tmp_path / "here" / "a").rglob("*"))
    assert [path for path in got if not (tmp_path / "here" / "a" / path).is_dir()] == names
    assert all((tmp_path / "here" / "a" / name).read_bytes() == (OLD_BUNDLE / name).read_bytes() for name in names)
    with pytest.raises(ToolError, match="has no bundles/b any more"):
        exchange.get_folder("bundles/b", tmp_path / "here" / "b")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["a"]


def test_names_that_lead_out_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "names", lambda _self, _folder: ["../../out"])
    with pytest.raises(ToolError, match="lead out of it"):
        Exchange("memory://sweep").get_folder("bundles/a", tmp_path / "a")


def test_a_sweep_that_is_there_has_to_be_meant(exchange: Exchange) -> None:
    exchange.begin(resume=False)
    with pytest.raises(UsageError, match="holds a sweep"):
        exchange.begin(resume=False)
    exchange.put_bytes("starts/a/export/1", b"")
    exchange.begin(resume=True)
    assert exchange.names("starts") == []


def test_a_store_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nonsense://a/b: .*rotocol") as caught:
        Exchange("nonsense://me:hush@a/b?sig=HUSH").begin(resume=False)
    assert "hush" not in str(caught.value).lower()
    (tmp_path / "file").write_text("")
    for url in ((tmp_path / "file").as_uri(), "file:///proc/nowhere"):
        with pytest.raises(ToolError, match=r"file:///.*\nChoose a folder that can be written\."):
            Exchange(url).begin(resume=False)


@pytest.mark.parametrize("url", ["s3://bucket/sweep", "file:///shared/sweep", "/shared/sweep", "simplecache::s3://b/s"])
def test_a_store_is_a_url_or_an_absolute_path(url: str) -> None:
    check_store(url)


@pytest.mark.parametrize("url", ["", "nonsense", "./here", "s3://", "://x", "file://here", "local://here", "s3:bucket"])
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"is neither a URL nor an absolute path\.\nWrite a URL, such as s3://"):
        check_store(url)


@pytest.mark.parametrize("url", ["memory://x", "memory://", "simplecache::memory://x"])
def test_the_memory_of_each_process_is_no_store_of_all(url: str) -> None:
    with pytest.raises(UsageError, match=f"--store '{url}' is the memory of each process"):
        check_store(url)


def test_a_full_store_is_no_cells_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def full(*_words: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", full)
    with pytest.raises(FullDiskError, match="memory://full is full"):
        Exchange("memory://full").put_bytes("a", b"")
    ended = run_step(Task("export", CELL.to_json(), "/nowhere", "/", "memory://full"), None, step)
    assert ended.is_disk_full


def task_of(name: str, base: Path, exchange: Exchange) -> Task:
    return Task(name, CELL.to_json(), "/a folder that is not there", str(base), exchange.url)


def test_a_step_finds_what_another_machine_made(exchange: Exchange, tmp_path: Path) -> None:
    """Each in a folder of its own, of which nothing stays."""
    before = None
    for name in CELL.steps:
        before = run_step(task_of(name, tmp_path, exchange), before, step)
        assert before.why_not is None, before
    assert log_of(tmp_path) == {"export ghostnet False": 1, "diff ghostnet True": 1, "inspect:cpu ghostnet True": 1}
    assert run_step(task_of("diff", tmp_path, exchange), None, step) == Ended("diff"), "it is done"
    assert log_of(tmp_path)["diff ghostnet True"] == 1
    there = SweepFolder(tmp_path / "driver", exchange)
    assert there.place_of(CELL, "export").starts == 1
    there.bring_bundle(CELL)
    assert (there.bundle_of(CELL) / "manifest.json").read_bytes() == (OLD_BUNDLE / "manifest.json").read_bytes()


def test_of_two_that_do_a_step_at_once_one_result_stays(exchange: Exchange, tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def slow(task: Task) -> dict[str, Any]:
        both.wait(20)
        return step(task)

    threads = [
        threading.Thread(target=run_step, args=(task_of("export", tmp_path, exchange), None, slow)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert log_of(tmp_path)["export ghostnet False"] == 2
    place = SweepFolder(tmp_path / "driver", exchange).place_of(CELL, "export")
    done = place.read()
    assert done and len({name.split("/")[0] for name in exchange.names(f"bundles/{CELL.bundle}")}) == 2
    assert exchange.names(done["bundle"]), "it names a bundle that is whole"
    assert run_step(task_of("diff", tmp_path, exchange), None, step).why_not is None


def test_a_step_whose_workers_die_is_given_up(exchange: Exchange, tmp_path: Path) -> None:
    for _ in range(MOST_STARTS):
        SweepFolder(tmp_path, exchange).place_of(CELL, "export").note_start()
    ended = run_step(task_of("export", tmp_path, exchange), None, step)
    assert "its worker died or was lost 3 times" in str(ended.why_not)


def test_a_bundle_that_was_removed_is_made_anew(exchange: Exchange, tmp_path: Path) -> None:
    run_step(task_of("export", tmp_path, exchange), None, step)
    folder = SweepFolder(tmp_path / "driver", exchange)
    folder.forget_lost(CELL)
    assert folder.place_of(CELL, "export").read() is not None
    exchange.remove("bundles")
    ended = run_step(task_of("diff", tmp_path, exchange), None, step)
    assert "any more" in str(ended.why_not)
    folder.forget_lost(CELL)
    assert folder.place_of(CELL, "export").read() is None


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(workers=2) as found:
        yield found


@pytest.mark.slow
def test_a_sweep_by_an_exchange(cluster: Cluster, tmp_path: Path) -> None:
    """Two processes without a common folder; then a second sweep, elsewhere, goes on with the rows of the first."""
    exchange = Exchange((tmp_path / "store").as_uri())
    cells = [Cell(name, precisions=("float32", "int8"), targets=("cpu",)) for name in ("a", "b", "faulty")]
    first = SweepFolder(tmp_path / "first", exchange)
    exchange.begin(resume=False)
    first.begin({}, resume=False)
    summary = run_cells(cells[1:], first, str(tmp_path), cluster, work=step)
    assert ([cell.model for cell in summary.done], [cell.model for cell, _ in summary.failed]) == (["b"], ["faulty"])
    assert summary.failed[0][1].why_not == "no such width"
    second = SweepFolder(tmp_path / "second", exchange)
    exchange.begin(resume=True)
    second.begin({}, resume=True)
    second.share_rows()
    left = missing(cells, second)
    assert [cell.model for cell in left] == ["a"]
    assert len(run_cells(left, second, str(tmp_path), cluster, work=step).done) == 1
    rows = read_rows(second.rows)
    assert Counter((row["model"], row["status"]) for row in rows) == {
        ("a", "ok"): 2, ("b", "ok"): 2, ("faulty", "failed"): 2,
    }  # fmt: skip
    assert all(row["size_bytes"] and row["parity"] for row in rows if row["status"] == "ok")
    assert exchange.names("rows") == sorted(path.name for path in second.rows.iterdir())
    assert log_of(tmp_path) == {
        "export a False": 1, "diff a True": 1, "inspect:cpu a True": 1,
        "export b False": 1, "diff b True": 1, "inspect:cpu b True": 1, "export faulty False": 1,
    }  # fmt: skip
