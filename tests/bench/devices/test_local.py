"""This machine as a device, and the lock that keeps sessions apart."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from mobilekit.bench.devices import local_facts
from mobilekit.bench.devices.base import Core, DeviceState, Finished, Workspace
from mobilekit.bench.devices.local import LocalDevice
from mobilekit.bench.devices.local_facts import read_facts, read_state
from mobilekit.bench.devices.lock import locked
from mobilekit.errors import DeviceError, UsageError


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with LocalDevice().open_workspace() as workspace:
        yield workspace


def test_a_program_runs_in_a_folder_that_goes(tmp_path: Path) -> None:
    with LocalDevice().open_workspace() as workspace:
        done = workspace.run(["sh", "-c", 'pwd; echo "$1" >&2; echo x >out; exit 5', "sh", "a  $b"])
        folder = Path(done.stdout.strip())
        assert done == Finished(5, f"{folder}\n", "a  $b\n")
        assert workspace.read("out") == workspace.read(str(folder / "out")) == b"x\n"
        with pytest.raises(DeviceError, match="none cannot be read: No such file"):
            workspace.read("none")
    assert not folder.exists()


def test_the_ends_that_a_shell_would_report(workspace: Workspace, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    assert workspace.run(["/nothing/here"]).exit_code == 127
    assert workspace.run([str(text)]).exit_code == 126
    assert workspace.run(["sh", "-c", "kill -SEGV $$"]).exit_code == 139
    assert workspace.run(["cat"], timeout=5) == Finished(0, "", "")


def test_files_are_used_in_place(workspace: Workspace, tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho ran\n")
    assert workspace.install(program) == str(program)
    copy = workspace.install(program, executable=True)
    assert copy != str(program) and workspace.run([copy]).stdout == "ran\n"
    program.chmod(0o755)
    assert workspace.install(program, executable=True) == str(program)
    with pytest.raises(UsageError, match="no such file"):
        workspace.install(tmp_path / "none")


def test_what_takes_too_long_is_killed_with_its_children(workspace: Workspace, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(DeviceError, match=r"sh did not end within 0\.5 s on this machine"):
        workspace.run(["sh", "-c", f"echo $$ >{pids}; sleep 60 & echo $! >>{pids}; wait"], timeout=0.5)
    assert [_is_running(int(pid)) for pid in pids.read_text().split()] == [False, False]


def test_cores_are_chosen(workspace: Workspace) -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    shown = workspace.run(["grep", "Cpus_allowed_list", "/proc/self/status"], cpu_mask=f"{1 << core:x}")
    assert shown.stdout.split() == ["Cpus_allowed_list:", str(core)]
    assert os.sched_getaffinity(0) == before
    with pytest.raises(DeviceError, match="no cores of the mask"):
        workspace.run(["true"], cpu_mask="1" + "0" * 100)
    with pytest.raises(UsageError, match="no mask of cores"):
        workspace.run(["true"], cpu_mask="0-3")
    assert os.sched_getaffinity(0) == before


def test_a_system_that_cannot_choose_cores(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(DeviceError, match="cannot be chosen on this system"):
        workspace.run(["true"], cpu_mask="1")


def test_facts_of_this_machine() -> None:
    device = LocalDevice()
    facts = device.facts
    assert facts.name == "local" and facts.os.startswith("Linux ")
    assert len(facts.cores) >= len(os.sched_getaffinity(0))
    assert not facts.emulated
    assert len(device.read_state().frequencies_khz) == len(facts.cores)


def test_facts_of_a_made_up_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "proc/cpuinfo", "processor\t: 0\nmodel name\t: Plum 3000 @ 2.00GHz\n")
    _write(tmp_path / "sys/class/dmi/id/product_name", "Orchard 5\n")
    _write(tmp_path / "sys/devices/system/cpu/present", "0-1\n")
    _write(tmp_path / "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "2000000\n")
    _write(tmp_path / "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "800000\n")
    _write(tmp_path / "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n")
    _write(tmp_path / "sys/class/power_supply/BAT0/capacity", "77\n")
    _write(tmp_path / "sys/class/power_supply/BAT0/temp", "312\n")
    monkeypatch.setattr(local_facts, "_PROCESSES", tmp_path / "proc")
    monkeypatch.setattr(local_facts, "_SYSTEM", tmp_path / "sys")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    facts = read_facts()
    assert (facts.model, facts.soc, facts.abi) == ("Orchard 5", "Plum 3000 @ 2.00GHz", "arm64-v8a")
    assert facts.cores == (Core(0, None), Core(1, 2000000))
    assert facts.governor == "powersave" and not facts.emulated
    assert read_state(facts.cores) == DeviceState(None, 77, 31.2, (None, 800000))


def test_a_system_without_proc_and_sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_facts, "_PROCESSES", tmp_path)
    monkeypatch.setattr(local_facts, "_SYSTEM", tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    facts = read_facts()
    assert facts.abi == "arm64-v8a" and facts.os.startswith("Darwin")
    assert [core.max_khz for core in facts.cores] == [None] * (os.cpu_count() or 0)
    assert (facts.governor, facts.emulated) == (None, False)
    assert read_state(facts.cores).battery_percent is None


def test_translated_instructions_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process claims another family of processors than the one that its program is for."""
    other = "x86_64" if read_facts().abi.startswith("arm") else "aarch64"
    monkeypatch.setattr("platform.machine", lambda: other)
    assert read_facts().emulated


def test_a_lock_names_its_holder() -> None:
    with locked("adb:R5X"):
        with pytest.raises(DeviceError, match=f"adb:R5X is in use by process {os.getpid()}"), locked("adb:R5X"):
            pass
        with locked("adb:other"):
            pass
    with locked("adb:R5X"):
        pass


def test_a_lock_is_free_when_its_process_dies() -> None:
    spawn = multiprocessing.get_context("spawn")
    held = spawn.Event()
    process = spawn.Process(target=_hold, args=(held,))
    process.start()
    assert held.wait(30)
    with pytest.raises(DeviceError, match=f"in use by process {process.pid}"), LocalDevice().open_workspace():
        pass
    process.kill()
    process.join()
    with LocalDevice().open_workspace() as workspace:
        assert workspace.run(["true"]).exit_code == 0


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with locked("adb:R5X"), pytest.raises(DeviceError, match="in use"), locked("adb:R5X"):
        pass
    assert [path.name for path in tmp_path.glob("mobilekit-locks-*")] == [f"mobilekit-locks-{os.getuid()}"]


def _hold(held: Event) -> None:
    with locked("local"):
        held.set()
        time.sleep(60)


def _is_running(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
