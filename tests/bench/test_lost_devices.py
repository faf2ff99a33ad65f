"""A device that is lost in a bench is waited for; rounds that were finished are kept, whatever comes after."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.devices.adb import AdbConnection
from mobilekit.bench.devices.lease import LOCK
from tests.bench_cli import Bench, Said
from tests.fake_device import FakeDevice

ROUNDS = 6
WORDS = ("a.tflite", "b.tflite", "--rounds", str(ROUNDS), "--json")
RUN = "--graph="
IN_ROUND_5 = {"drop_on_command": RUN, "drop_after_commands": 2 * 4, "drop_after_output_bytes": 100}


def left_on(fake: FakeDevice) -> list[str]:
    """Return what is on the device beside the store."""
    names = {path.split("/")[4] for path in fake.files()}
    return sorted(name for name in names if name != "mobilekit-store") + [str(pid) for pid in fake.processes()]


def without_adb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:127.0.0.2:9")


def states_of_rounds(said: Said) -> list[tuple[int, bool]]:
    return [(each["index"], each["rejected"] is None) for each in said.json["rounds"]]


@pytest.mark.parametrize("hang", [False, True])
def test_a_hiccup_in_round_5_costs_that_round_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch, hang: bool) -> None:
    """Also where the tool runs on when the connection is gone: it would slow the next round."""
    with bench.fake.faulty(**IN_ROUND_5, drops=1, orphans=hang):
        said = bench(*WORDS, "--record", "kept")
    assert said.code == 0, said.err
    counted = [(index, True) for index in range(ROUNDS)]
    assert states_of_rounds(said) == [*counted[:4], (4, False), *counted[4:]]
    [lost] = [each["rejected"] for each in said.json["rounds"] if each["rejected"]]
    assert lost == f"{bench.fake.serial} was lost in the middle of a command."
    assert all(result["rounds"] == ROUNDS and result["accepted"] for result in said.json["results"])
    assert "partial" not in said.json and left_on(bench.fake) == []
    without_adb(monkeypatch)
    assert bench(*WORDS, device="replay:kept") == said, "the recording has the loss and the return"


def test_what_was_finished_is_kept_where_it_stays_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.bench.devices.workspace.RECOVER_SECONDS", 0.5)
    with bench.fake.faulty(**IN_ROUND_5, stays_away=True):
        said = bench(*WORDS, "--profile", "--record", "kept", "--save-baseline", "base.json")
    assert said.code == 3
    assert states_of_rounds(said) == [*((index, True) for index in range(4)), (4, False)]
    assert said.json["partial"].startswith(f"{bench.fake.serial} was lost in the middle of a command.")
    assert said.json["notes"][0].startswith(f"Stopped after 4 of {ROUNDS} rounds: {bench.fake.serial} was lost")
    assert [result["rounds"] for result in said.json["results"]] == [4, 4]
    assert said.json["comparisons"], "the rounds that are there are compared"
    [problem] = said.problems
    assert problem.startswith(f"warning: adb:{bench.fake.serial} was not finished: ")
    assert len(json.loads(Path("base.json").read_text())["entries"][0]["raw_ms"]) == 4
    without_adb(monkeypatch)
    assert bench(*WORDS, "--profile", device="replay:kept") == said


def test_a_device_that_comes_and_goes_is_given_up(bench: Bench) -> None:
    faults: dict[str, Any] = {**IN_ROUND_5, "drop_after_commands": 2}
    with bench.fake.faulty(**faults):
        said = bench(*WORDS)
    assert said.code == 3
    assert states_of_rounds(said) == [(0, True), *[(1, False)] * 6]


def test_a_device_that_is_lost_at_once_and_returns(bench: Bench) -> None:
    with bench.fake.faulty(drop_on_command=RUN, drops=1):
        said = bench(*WORDS)
    assert said.code == 0
    assert states_of_rounds(said) == [(0, False), *((index, True) for index in range(ROUNDS))]


def test_a_device_that_is_lost_between_rounds(bench: Bench) -> None:
    with bench.fake.faulty(drop_on_command="section=thermal", drop_after_commands=3, drops=1):
        said = bench(*WORDS)
    assert said.code == 0 and all(result["rounds"] == ROUNDS for result in said.json["results"])


def test_what_the_device_forgot_is_made_anew(bench: Bench) -> None:
    """A device that starts anew may have cleaned its folder, and the boot that the lock names is another one's."""

    def forget() -> None:
        for folder in (bench.fake.root / "data/local/tmp").glob("mobilekit-[0-9a-f]*-*"):
            shutil.rmtree(folder)
        shutil.rmtree(bench.fake.paths.to_host(LOCK))

    wait = AdbConnection.wait
    with pytest.MonkeyPatch.context() as patch, bench.fake.faulty(**IN_ROUND_5, drops=1):
        patch.setattr(AdbConnection, "wait", lambda self, seconds: (forget(), wait(self, seconds))[1])
        said = bench(*WORDS)
    assert said.code == 0 and all(result["rounds"] == ROUNDS for result in said.json["results"])
    assert left_on(bench.fake) == []


def test_another_session_took_it_meanwhile(bench: Bench) -> None:
    wait = AdbConnection.wait

    def take(self: AdbConnection, seconds: float) -> None:
        (bench.fake.paths.to_host(LOCK) / "holder").write_text("/data/local/tmp/mobilekit-ffffffff-01\n")
        wait(self, seconds)

    with pytest.MonkeyPatch.context() as patch, bench.fake.faulty(**IN_ROUND_5, drops=1):
        patch.setattr(AdbConnection, "wait", take)
        said = bench(*WORDS)
    assert said.code == 3 and "is in use by another mobilekit" in said.json["partial"]
    assert [result["rounds"] for result in said.json["results"]] == [4, 4]
    shutil.rmtree(bench.fake.paths.to_host(LOCK))


def test_one_of_several_devices_ends_early(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.bench.devices.workspace.RECOVER_SECONDS", 0.5)
    with FakeDevice(tmp_path / "second", beside=bench.fake) as second, second.faulty(**IN_ROUND_5, stays_away=True):
        said = bench(*WORDS, device="adb:all")
    assert said.code == 3
    rounds = {each["device"]["name"]: each["results"][0]["rounds"] for each in said.json["devices"]}
    assert rounds == {f"adb:{bench.fake.serial}": ROUNDS, f"adb:{second.serial}": 4}
