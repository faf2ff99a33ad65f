"""The lock on the device itself: who has it, when its session counts as dead, and what a session says that lost it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mobilekit.bench.devices.android import AdbDevice
from mobilekit.bench.devices.base import Workspace
from mobilekit.bench.devices.lease import LOCK, Holder
from mobilekit.bench.devices.names import Session
from mobilekit.bench.devices.store import ROOT
from mobilekit.errors import DeviceError
from tests.bench.devices.test_workspace import HostConnection, _ends, _running, _tools

HERE = Session("one", "0123abcd", "process 7 of ann@desk")
ELSEWHERE = Session("two", "fedcba98", "process 8 of ben@ci; $(id)")


@pytest.fixture
def host(tmp_path: Path) -> HostConnection:
    root = tmp_path / "device"
    root.mkdir()
    return HostConnection(root)


@contextmanager
def opened(host: HostConnection, session: Session) -> Iterator[Workspace]:
    """Open a workspace as a machine would that shares no lock with others."""
    with AdbDevice(host, session, lock=None).open_workspace() as workspace:
        yield workspace


def lock(host: HostConnection) -> Path:
    return Path(host.here(LOCK))


def test_a_second_session_is_kept_off_and_leaves_the_first_alone(host: HostConnection) -> None:
    with opened(host, ELSEWHERE) as first:
        first.run(["sh", "-c", "sleep 4331 >/dev/null 2>&1 &"])
        with pytest.raises(DeviceError) as caught, opened(host, HERE):
            pass
        assert caught.value.what == "SERIAL is in use by another mobilekit (process 8 of ben@ci_ __id_)."
        assert "--device" in caught.value.hint and LOCK in caught.value.hint
        assert _running("sleep 4331") == 1
        assert first.run(["echo", "well"]).stdout == "well\n"
    assert not lock(host).exists() and _ends("sleep 4331")
    with opened(host, HERE) as second:
        assert second.run(["echo", "mine"]).stdout == "mine\n"


def silence(host: HostConnection, seconds: float) -> None:
    """Let the holder of the lock have given no sign of life for so long."""
    os.utime(lock(host) / "seconds", (time.time() - seconds,) * 2)


def test_a_session_has_the_device_for_as_long_as_its_command_may_take(host: HostConnection) -> None:
    with opened(host, ELSEWHERE) as first:
        first.run(["true"], timeout=1000)
        silence(host, 1000)  # and a rest before the next command
        with pytest.raises(DeviceError, match="in use"), opened(host, HERE):
            pass


def test_the_folder_and_the_programs_of_a_dead_session_go(host: HostConnection) -> None:
    with opened(host, ELSEWHERE) as first:
        first.run(["sh", "-c", "echo x >left; sleep 4332 >/dev/null 2>&1 &"], timeout=10)
        silence(host, 10_000)
        with opened(host, HERE):
            assert _ends("sleep 4332")
            assert not any(name.endswith("/left") for name in host.files())
            with pytest.raises(DeviceError, match="SERIAL was taken by another mobilekit") as caught:
                first.run(["touch", f"{ROOT}/trace"])
            assert caught.value.hint
            assert not (host.root / "trace").exists(), "it did not run"
            with pytest.raises(DeviceError, match="was taken by another"):
                first.install(Path(__file__))
        assert host.pushed == []


def test_a_session_from_before_a_start_of_the_device_is_dead(host: HostConnection) -> None:
    with opened(host, ELSEWHERE):
        (lock(host) / "boot").write_text("another start\n")
        with opened(host, HERE) as second:
            assert second.run(["true"]).exit_code == 0


def test_a_session_of_ours_that_died_is_known_by_the_lock_of_this_machine(host: HostConnection) -> None:
    died = Session("died", HERE.owner)
    with opened(host, died), opened(host, HERE) as second:
        assert second.run(["true"]).exit_code == 0


def test_a_device_that_cannot_tell_the_time_keeps_its_lock(host: HostConnection, tmp_path: Path) -> None:
    with opened(host, ELSEWHERE):
        silence(host, 10_000)
        host.path = _tools(tmp_path, "mkdir", "rm", "ls")
        with pytest.raises(DeviceError, match="in use"), opened(host, HERE):
            pass


def test_a_lock_that_is_just_being_taken_is_another_s(host: HostConnection) -> None:
    lock(host).mkdir()
    with pytest.raises(DeviceError, match=r"SERIAL is in use by another mobilekit\."), opened(host, HERE):
        pass


@pytest.mark.parametrize(
    ("seconds", "silent", "dead"), [(60, 61, True), (60, 60, False), (None, 61, False), (60, None, False)]
)
def test_who_is_dead(seconds: int | None, silent: int | None, dead: bool) -> None:
    holder = Holder(f"{ROOT}/mobilekit-fedcba98-01", "", "boot", seconds, silent, "boot")
    assert holder.is_dead("0123abcd") is dead
    assert holder.is_dead("fedcba98")
