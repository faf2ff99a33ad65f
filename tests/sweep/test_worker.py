"""A worker of a cluster, and the phones at its machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.fleet.load import load_fleet
from mobilekit.errors import DeviceError, ToolError
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.schema import Timing
from mobilekit.sweep.worker import Phone, find_phones, fleet_phones, resources_of
from tests.bench.fleet.fake_stf import TOKEN, FakeStf
from tests.bench.fleet.fake_stf import Phone as FarmPhone
from tests.conftest import ROOT
from tests.fake_device import FakeDevice, fake_benchmark_model
from tests.old_bundle import OLD_BUNDLE

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

from mobilekit.sweep import run
from mobilekit.sweep.cluster import Cluster, check_versions, open_cluster
from mobilekit.sweep.rows import read_rows
from mobilekit.sweep.run import run_cells
from mobilekit.sweep.steps import in_child
from tests.sweep.noop import lines, step

pytestmark = pytest.mark.slow  # processes are started


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake, pytest.MonkeyPatch.context() as patch:
        for name, value in fake.environment.items():
            patch.setenv(name, value)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("STF_TOKEN", TOKEN)
        patch.setenv("no_proxy", "*")
        yield fake


@contextmanager
def work_for(address: str, phones: str = "all") -> Iterator[str]:
    """Start the command, and give what it announces."""
    command = [sys.executable, "-m", "mobilekit", "worker", address, "--phones", phones, "--slots", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        try:
            yield process.stderr.readline().strip()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cluster(phone: FakeDevice) -> Iterator[Cluster]:
    """A scheduler, and one machine with a phone."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=":0") as scheduler:
        address = scheduler.scheduler_address
        with work_for(address) as said:
            assert said == f"at work for {address}: step 1, phone:{phone.serial} 1, phone:Pinecone 8 1"
            with open_cluster(address) as found:
                yield found


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = SweepFolder(tmp_path / "sweep")
    made.begin({}, resume=False)
    return made


def test_phones_by_their_serials(phone: FakeDevice) -> None:
    assert find_phones("") == []
    assert find_phones("all") == find_phones(phone.serial) == [Phone(phone.serial, "Pinecone 8")]
    with pytest.raises(DeviceError, match="adb sees no device XYZ") as caught:
        find_phones(f"{phone.serial},XYZ")
    assert caught.value.hint == "`mobilekit devices` lists what adb sees."


def test_phones_of_one_model_are_counted() -> None:
    phones = [Phone("A", "Pixel 6"), Phone("B", "Pixel 6"), Phone("C", "")]
    assert resources_of(phones, 2) == {"step": 2, "phone:A": 1, "phone:B": 1, "phone:C": 1, "phone:Pixel 6": 2}


def test_phones_of_a_fleet_are_counted_by_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("adb: [{phones: [{serial: A, labels: [pixel-6, old]}, {serial: B, labels: [pixel-6]}]}]")
    fleet = load_fleet(path)
    counts = {"step": 1, "phone:A": 1, "phone:B": 1, "phone:pixel-6": 2, "phone:old": 1}
    assert resources_of(fleet_phones("all", fleet), 1) == counts
    assert fleet_phones("B", fleet) == [Phone("B", "", ("pixel-6",))]
    assert fleet_phones("", fleet) == []


def test_a_phone_runs_one_bench_at_a_time_and_benches_wait_for_no_core(
    cluster: Cluster, folder: SweepFolder, phone: FakeDevice
) -> None:
    cells = [Cell(f"slow-{name}", precisions=("float32",), device=f"adb:{phone.serial}", diff=False) for name in "abcd"]
    assert len(run_cells(cells, folder, "/", cluster, work=step).done) == 4
    assert cluster.width() == 2
    benches = [words[0] for words in lines(folder) if words[1] == "bench"]
    assert benches == ["start", "end"] * 4
    others = [(place, words[2]) for place, words in enumerate(lines(folder)) if words[:2] == ["end", "export"]]
    last_bench = max(place for place, words in enumerate(lines(folder)) if words[1] == "bench")
    assert max(place for place, _model in others) < last_bench - 2  # exports went on beside the first benches


def test_workers_with_another_mobilekit_are_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.__version__", "99.0")
    address = cluster.client.scheduler.address
    with pytest.raises(ToolError, match=r"has mobilekit 0\..*, and this is 99\.0"), open_cluster(address):
        pass
    with pytest.raises(ToolError, match=r"tcp://a:1 has no mobilekit that can be imported"):
        check_versions({"tcp://a:1": ModuleNotFoundError("No module named 'mobilekit'")})


def test_a_bench_whose_phones_worker_is_gone_for_long_does_not_wait_for_ever(
    cluster: Cluster, folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another phone's worker begins its bench, and ends; the one that is left is then to try it."""
    monkeypatch.setattr(run, "GONE_SECONDS", 0.5)
    cell = Cell("gate-a", precisions=("float32",), device="adb:B", diff=False)

    def works() -> bool:
        return "bench" in [words[1] for words in lines(folder)]

    with work_for_phone_b(cluster) as worker:
        thread = threading.Thread(target=lambda: _kill_when(works, worker, folder.path / "open"))
        thread.start()
        summary = run_cells([cell], folder, "/", cluster, work=step)
        thread.join(10)
    assert len(summary.done) == 1
    assert [words[0] for words in lines(folder) if words[1] == "bench"] == ["start", "start", "end"]


@contextmanager
def work_for_phone_b(cluster: Cluster) -> Iterator[subprocess.Popen[bytes]]:
    """Start a plain worker that announces a phone B, and wait until it is there."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.client.scheduler.address]
    command += ["--nthreads", "2", "--no-nanny", "--no-dashboard", "--resources", "step=1,phone:B=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            while not cluster.width() or "phone:B" not in cluster.resources:
                assert process.poll() is None
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def _kill_when(condition: Callable[[], bool], process: subprocess.Popen[bytes], opened: Path) -> None:
    while not condition():
        time.sleep(0.02)
    process.kill()
    opened.touch()


def exported(folder: SweepFolder, cell: Cell) -> Cell:
    """Put a bundle where a cell's export would make it."""
    shutil.copytree(OLD_BUNDLE, folder.bundle_of(cell))
    place = folder.place_of(cell, "export")
    place.folder.mkdir(parents=True)
    place.write({"found": {}, "host": "here", "seconds": 1.0})
    return cell


def test_a_bench_on_a_phone_becomes_rows(cluster: Cluster, folder: SweepFolder, phone: FakeDevice) -> None:
    precisions = tuple(json.loads((OLD_BUNDLE / "manifest.json").read_text())["precision"])
    timing: dict[str, Any] = Timing(rounds=2, benchmark_binary=str(fake_benchmark_model())).model_dump()
    first = Cell("ghostnet", precisions=precisions, device=f"adb:{phone.serial}", diff=False, bench=timing)
    cells = [exported(folder, first), replace(first, device="phone:Pinecone 8"), replace(first, device="adb:XYZ")]
    fleet = folder.path / "fleet.yaml"
    fleet.write_text(f"adb: [{{phones: [{{serial: '{phone.serial}', labels: [pinecone]}}]}}]")
    cells.append(replace(first, device="label:pinecone", bench={**timing, "fleet": str(fleet)}))
    summary = run_cells(cells, folder, "/", cluster, work=in_child)
    assert [(cell.device, ended.step) for cell, ended in summary.failed] == [("adb:XYZ", "bench")]
    assert "adb sees no device XYZ" in str(summary.failed[0][1].why_not)
    rows = read_rows(folder.rows)
    good = [row for row in rows if row["status"] == "ok"]
    assert {row["device"] for row in good} == {f"adb:{phone.serial}", "phone:Pinecone 8", "label:pinecone"}
    assert {(row["device_model"], len(row["raw_ms"])) for row in good} == {("Pinecone 8", 2)}
    assert {row["device"] for row in rows if row["status"] == "failed"} == {"adb:XYZ"}


def test_a_bench_on_a_leased_phone_gives_it_back(cluster: Cluster, folder: SweepFolder, phone: FakeDevice) -> None:
    precisions = tuple(json.loads((OLD_BUNDLE / "manifest.json").read_text())["precision"])
    phone.adb("disconnect", phone.serial)
    try:
        with FakeStf({"R58M": FarmPhone(phone.serial)}) as farm:
            fleet = folder.path / "fleet.yaml"
            host = f"{{url: '{farm.url}', token: STF_TOKEN, plain_http: true, phones: [{{serial: R58M}}]}}"
            fleet.write_text(f"stf: [{host}]")
            timing = Timing(rounds=2, benchmark_binary=str(fake_benchmark_model())).model_dump()
            cell = Cell("ghostnet", precisions=precisions, device="serial:R58M", diff=False)
            cell = exported(folder, replace(cell, bench={**timing, "fleet": str(fleet)}))
            summary = run_cells([cell], folder, "/", cluster, work=in_child)
            assert summary.failed == [] and len(summary.done) == 1
            assert farm.phones["R58M"].owner is None and farm.asked[-1] == "DELETE /user/devices/R58M"
    finally:
        phone.reconnect()
    assert {(row["device"], row["device_model"]) for row in read_rows(folder.rows)} == {("serial:R58M", "Pinecone 8")}
