"""Which devices the words of `--device` name, and what is said where they name none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.bench.devices import adb, select
from mobilekit.bench.devices.adb_address import Address
from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.discovery import ListedDevice, parse_devices
from mobilekit.bench.devices.local import LocalDevice
from mobilekit.bench.devices.recording import FILE
from mobilekit.bench.devices.select import KINDS, choose, find_devices, open_device
from mobilekit.cli import complete
from mobilekit.errors import DeviceError, UsageError

READY = ListedDevice("A1", "device", "Ficus 9", None)
SECOND = ListedDevice("B2", "device", "", None)
(LOCKED,) = parse_devices("C3 unauthorized\n")


class Connection(adb.AdbConnection):
    def __init__(self, address: Address, serial: str) -> None:
        if serial == "B2":
            raise DeviceError("B2 went.", "Plug it in.")
        self.serial, self.features = serial, frozenset({"shell_v2"})

    def shell(self, command: str, timeout: float) -> Finished:
        raise DeviceError(f"{self.serial} does not tell who it is.")


@pytest.fixture(autouse=True)
def no_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANDROID_SERIAL", "ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)


def _see(monkeypatch: pytest.MonkeyPatch, *found: ListedDevice) -> None:
    monkeypatch.setattr(select, "list_devices", lambda adb_server: list(found))
    monkeypatch.setattr(adb, "AdbConnection", Connection)


def test_the_only_ready_device() -> None:
    assert choose("", [READY]) == [READY]
    assert choose("", [LOCKED, READY]) == [READY]
    assert choose("A1", [READY, SECOND]) == [READY]
    assert choose("all", [READY, LOCKED, SECOND]) == [READY, SECOND]


@pytest.mark.parametrize("serial", ["", "all"])
def test_no_device(serial: str) -> None:
    with pytest.raises(DeviceError, match="adb sees no device") as caught:
        choose(serial, [])
    assert "USB debugging" in caught.value.hint


def test_several_devices() -> None:
    with pytest.raises(DeviceError, match=r"adb sees 2 devices: A1 \(Ficus 9\), B2.") as caught:
        choose("", [READY, SECOND, LOCKED])
    assert all(word in caught.value.hint for word in ("--device adb:A1", "ANDROID_SERIAL", "adb:all"))


def test_an_unknown_device() -> None:
    with pytest.raises(DeviceError, match="adb sees no device Z9, but A1, C3"):
        choose("Z9", [READY, LOCKED])
    with pytest.raises(DeviceError, match=r"adb sees no device 10\.0\.0\.7:5555, nor any other") as caught:
        choose("10.0.0.7:5555", [])
    assert "adb connect 10.0.0.7:5555" in caught.value.hint


@pytest.mark.parametrize("serial", ["", "all", "C3"])
def test_devices_that_are_not_ready(serial: str) -> None:
    with pytest.raises(DeviceError, match="C3 has not allowed this computer to debug it") as caught:
        choose(serial, [LOCKED])
    assert "Unlock its screen" in caught.value.hint


def test_all_devices_and_those_that_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    _see(monkeypatch, READY, SECOND, LOCKED)
    selection = find_devices("adb:all")
    assert len(selection.devices) == 1
    assert [(each.serial, each.message) for each in selection.not_ready] == [
        ("C3", "C3 has not allowed this computer to debug it."),
        ("B2", "B2 went."),
    ]
    _see(monkeypatch, SECOND)
    with pytest.raises(DeviceError, match="B2 went"):
        find_devices("adb:all")


def test_the_serial_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    _see(monkeypatch, READY, SECOND)
    monkeypatch.setenv("ANDROID_SERIAL", "B2")
    with pytest.raises(DeviceError, match="B2 went"):
        find_devices("adb")
    assert len(find_devices("adb:A1").devices) == 1


def test_recordings_get_a_folder_for_each_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _see(monkeypatch, READY)
    find_devices("adb", record=tmp_path)
    assert (tmp_path / "A1" / FILE).is_file()
    with pytest.raises(UsageError, match="--device local cannot be recorded"):
        find_devices("local", record=tmp_path)


def test_this_machine() -> None:
    (device,) = find_devices("local").devices
    assert isinstance(device, LocalDevice)


@pytest.mark.parametrize("word", ["", "abd", "adb:", "replay:", "usb", "LOCAL"])
def test_other_words(word: str) -> None:
    with pytest.raises(UsageError, match="There is no device"):
        find_devices(word)


def test_each_kind_times_or_runs_a_file_and_knows_its_words() -> None:
    for kind in KINDS:
        assert kind.find or kind.open
        for word in kind.words:
            assert [each.name for each in KINDS if each.means(word)] == [kind.name]
        assert not kind.means(f"{kind.name}:") and not kind.means("usb")


def test_a_shell_offers_what_is_taken() -> None:
    timed = [word for kind in KINDS if kind.find for word in kind.words]
    run = [word.removesuffix("SOC") for kind in KINDS if kind.open for word in kind.words]
    bench = [word.removesuffix("DIR") for word in timed if word != "adb:SERIAL"]
    assert complete.bench_devices("") == [*bench, "emulated"]  # it counts, and times nothing
    assert sorted(complete.diff_devices("")) == sorted(set(run) - {"adb:SERIAL", "adb:all"})


def test_what_only_runs_files_is_not_timed_on() -> None:
    with pytest.raises(UsageError, match=r"emulated is for .mobilekit diff."):
        find_devices("emulated")
    with pytest.raises(UsageError, match="There is no device 'local' for diff"), open_device("local"):
        pass
