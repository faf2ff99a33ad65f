"""One phone that adb lists under several names, with a real adb server: it is benched once, and by one session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilekit.bench.devices.select import find_devices
from mobilekit.errors import DeviceError
from tests.bench_cli import Bench
from tests.fake_device import FakeDevice


@pytest.fixture
def bench(bench: Bench) -> Iterator[Bench]:
    """A bench that has to leave nothing on the phone either."""
    yield bench
    assert {Path(name).name for name in bench.fake.files() if name.count("/") == 4} <= {"mobilekit-store"}


@pytest.fixture
def second_name(bench: Bench) -> Iterator[str]:
    """Connect to the device by another name, as adb does by itself with phones on the network."""
    name = bench.fake.serial.replace("127.0.0.1", "localhost")
    bench.fake.adb_server.ask(f"host:connect:{name}")
    assert bench.fake.adb_server.state(name) == "device"
    yield name
    bench.fake.adb_server.ask(f"host:disconnect:{name}")


WORDS = ("a.tflite", "--rounds", "2", "--json")


def test_it_is_benched_once(bench: Bench, second_name: str) -> None:
    note = f"note: {bench.fake.serial} and {second_name} are one phone: {bench.fake.serial} is used."
    for device in ("adb", "adb:all"):
        said = bench(*WORDS, device=device)
        assert said.code == 0, said.err
        assert said.problems == [note]
        result = said.json["devices"][0] if device == "adb:all" else said.json
        assert result["device"]["name"] == f"adb:{bench.fake.serial}"
    assert note.removeprefix("note: ") in bench.run("devices").out.replace("\n", " ")


def test_each_name_may_be_given(bench: Bench, second_name: str) -> None:
    said = bench(*WORDS, device=f"adb:{second_name}")
    assert (said.code, said.problems) == (0, [])
    assert said.json["device"]["name"] == f"adb:{second_name}"


@pytest.mark.parametrize("same_machine", [True, False])
def test_it_has_one_session_whatever_the_name(
    bench: Bench, second_name: str, monkeypatch: pytest.MonkeyPatch, same_machine: bool
) -> None:
    [first] = find_devices(f"adb:{bench.fake.serial}").devices
    with first.open_workspace() as workspace:
        if not same_machine:  # another container, with the same user and host
            monkeypatch.setenv("XDG_STATE_HOME", str(bench.folder / "other"))
        said = bench(*WORDS, device=f"adb:{second_name}")
        whom = "process" if same_machine else "another mobilekit (process"
        assert said.code == 3 and f"{second_name} is in use by {whom}" in said.err
        assert workspace.run(["echo", "well"]).stdout == "well\n", "the first is left alone"
    monkeypatch.setenv("XDG_STATE_HOME", str(bench.folder / "state"))
    assert bench(*WORDS, device=f"adb:{second_name}").code == 0


def test_two_phones_are_two(bench: Bench, tmp_path: Path) -> None:
    with FakeDevice(tmp_path / "second", beside=bench.fake), pytest.raises(DeviceError, match="adb sees 2 devices"):
        find_devices("adb")
