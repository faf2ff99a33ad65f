"""`mobilekit bench` on several devices at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.bench import ON_DEVICE
from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.discovery import ListedDevice
from mobilekit.errors import DeviceError
from tests.bench.test_choice import PHONE, Phone
from tests.cli.test_bench import Run, make_run, make_two, parse, phone, select


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    yield from make_run(tmp_path, monkeypatch, capsys)


@pytest.fixture
def two(digits_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    return make_two(digits_bundle, tmp_path)


class LostPhone(Phone):
    def run(self, arguments: Any, *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        raise DeviceError(f"{self.facts.name} is gone.")


def test_several_devices_have_a_column_each(run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    select(monkeypatch, phone("adb:1"), phone("adb:2"))
    found = run(*two, "--device", "adb:all", "--rounds", 6)
    assert found.code == 0
    *_, head, first, _second = found.out.splitlines()
    assert head.split() == ["file", "adb:1", "adb:2"]
    assert first.split() == ["A.tflite", "1.00", "(1.00", "..", "1.00)", "1.00", "(1.00", "..", "1.00)"]
    content = parse(run(*two, "--device", "adb:all", "--rounds", 6, "--json"))
    assert [each["device"]["name"] for each in content["devices"]] == ["adb:1", "adb:2"]
    assert content["failed"] == []


def test_one_recording_of_several_devices_is_shown_whole(
    run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    select(monkeypatch, phone("adb:1"), phone("adb:2"))
    assert len(parse(run(two[0], "--device", "replay:here", "--rounds", 1, "--json"))["devices"]) == 2


def test_all_of_one_device_is_a_list_of_one(run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    select(monkeypatch, phone("adb:1"))
    assert len(parse(run(two[0], "--device", "adb:all", "--rounds", 1, "--json"))["devices"]) == 1


def test_a_device_that_fails_does_not_stop_the_others(
    run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = LostPhone(facts=replace(PHONE, name="adb:2"))
    select(monkeypatch, phone("adb:1"), lost, not_ready=(ListedDevice("3", "offline", "", "3 is offline."),))
    found = run(two[0], "--device", "adb:all", "--rounds", 1, "--json", "--junit", "j.xml")
    assert found.code == 3
    assert found.problems == ["warning: 3 is offline.", "warning: adb:2 is gone."]
    content = json.loads(found.out)
    assert [each["device"]["name"] for each in content["devices"]] == ["adb:1"]
    assert content["failed"] == ["adb:2 is gone."]
    assert Path("j.xml").exists()


def test_where_all_devices_fail_the_first_error_is_told(
    run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    select(monkeypatch, *(LostPhone(facts=replace(PHONE, name=f"adb:{n}")) for n in (1, 2)))
    found = run(two[0], "--device", "adb:all")
    assert (found.code, found.out) == (3, "")
    assert "error: adb:1 is gone." in found.err


def test_a_baseline_of_several_devices_is_refused_before_they_run(
    run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    phones = phone("adb:1"), phone("adb:2")
    select(monkeypatch, *phones)
    found = run(two[0], "--device", "adb:all", "--save-baseline", "b.json")
    assert found.code == 2
    assert "A baseline is of one device." in found.err
    assert phones[0].runs == phones[1].runs == []


def test_an_interruption_stops_every_device(run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class InterruptedPhone(Phone):
        def run(self, arguments: Any, *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
            raise KeyboardInterrupt

    class SlowPhone(Phone):
        def run(self, arguments: Any, *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
            time.sleep(0.05)
            return super().run(arguments, cpu_mask=cpu_mask, timeout=timeout)

    slow = SlowPhone(ON_DEVICE)
    select(monkeypatch, InterruptedPhone(ON_DEVICE), slow)
    found = run(two[0], "--device", "adb:all", "--rounds", 200)
    assert (found.code, found.out) == (130, "")
    assert len(slow.runs) < 20, "it did not run all its 200 rounds"
