"""`mobilekit bench --fleet`: phones at a cable and leased ones, and how they are given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mobilekit.bench.devices.lock import locked
from tests.bench.devices.test_faults import PATIENCE, is_clean, wait_until
from tests.bench.fleet.fake_stf import ME, TOKEN, FakeStf, Phone
from tests.bench_cli import Bench, Said
from tests.command_line import heed_interrupts
from tests.conftest import ROOT
from tests.fake_device import FakeDevice

USAGE, DEVICE, INTERRUPTED = 2, 3, 130
LEASED = "R58M"
GIVEN_BACK = [f"DELETE /user/devices/{LEASED}/remoteConnect", f"DELETE /user/devices/{LEASED}"]
ONE = ("a.tflite", "--rounds", "1", "--json")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


@pytest.fixture
def bench(
    fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    bench = Bench(fake, tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("STF_TOKEN", TOKEN)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("mobilekit.bench.fleet.pick._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("mobilekit.bench.fleet.pick._COOLING_SECONDS", 0.1)
    yield bench
    assert is_clean(fake) and bench.left_here() == []


@pytest.fixture
def farm(bench: Bench) -> Iterator[FakeStf]:
    """A farm whose phone is not connected to adb before it is leased."""
    bench.fake.adb("disconnect", bench.fake.serial)
    with FakeStf({LEASED: Phone(bench.fake.serial)}) as farm:
        yield farm
        assert farm.phones[LEASED].owner is None or LEASED in str(farm.answers)
    bench.fake.reconnect()


def cable(bench: Bench, **more: object) -> str:
    """Write a fleet of one phone at a cable."""
    phones = [{"serial": bench.fake.serial, "labels": ["pinecone"]}]
    return write(bench, {"adb": [{"phones": phones}], "wait_seconds": 0, **more})


def leased(bench: Bench, farm: FakeStf, **more: object) -> str:
    """Write a fleet of one phone that is leased."""
    phones = [{"serial": LEASED, "labels": ["pinecone"]}]
    host = {"url": farm.url, "token": "STF_TOKEN", "plain_http": True, "phones": phones}
    return write(bench, {"stf": [host], "wait_seconds": 0, **more})


def write(bench: Bench, content: object) -> str:
    (bench.folder / "fleet.yaml").write_text(yaml.safe_dump(content))
    return "fleet.yaml"


def run(bench: Bench, fleet: str, *words: str, device: str = "label:pinecone") -> Said:
    said = bench(*(words or ONE), "--fleet", fleet, device=device)
    assert TOKEN not in said.out + said.err
    return said


def test_a_phone_at_a_cable(bench: Bench) -> None:
    said = run(bench, cable(bench, rules={"least_battery_percent": 80, "highest_celsius": 45}))
    assert said.code == 0 and said.problems == [], said
    assert said.json["device"]["name"] == f"adb:{bench.fake.serial}"
    assert f"The phone is {bench.fake.serial}." in said.json["notes"]
    assert run(bench, "fleet.yaml", device=f"serial:{bench.fake.serial}").code == 0


def test_a_leased_phone_is_given_back(bench: Bench, farm: FakeStf) -> None:
    said = run(bench, leased(bench, farm))
    assert said.code == 0 and said.problems == [], said
    assert f"The phone is {LEASED} at {farm.url}." in said.json["notes"]
    assert farm.asked == [
        f"GET /devices/{LEASED}",
        "POST /user/devices",
        f"POST /user/devices/{LEASED}/remoteConnect",
        *GIVEN_BACK,
    ]
    assert bench.fake.adb_server.state(bench.fake.serial) == "", "adb is not connected any more"


def test_an_unknown_label(bench: Bench) -> None:
    said = run(bench, cable(bench), device="label:pine")
    assert said.code == USAGE and "fleet.yaml has no label pine." in said.err and "pinecone?" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--device", "label:a"), "--device label:a is a phone of a fleet."),
        (("--device", "local", "--fleet", "fleet.yaml"), "--device local is no phone of a fleet."),
        (("--device", "label:a", "--fleet", "fleet.yaml", "--record", "r"), "--record is not for a fleet"),
        (("--device", "label:a", "--fleet", "fleet.yaml", "--adb-server", "h:1"), "--adb-server is not for a fleet"),
    ],
)
def test_options_that_do_not_go_together(bench: Bench, words: tuple[str, ...], said: str) -> None:
    cable(bench)
    found = bench.run("bench", "a.tflite", *words)
    assert found.code == USAGE and said in found.err


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"least_battery_percent": 90}, "is at 81 %, of 90 % at least.\nCharge it"),
        ({"highest_celsius": 25}, "is at 27.4 °C, of 25 °C at most.\nLet it cool down"),
        ({"highest_celsius": 25, "cool_down_seconds": 0.3}, "is at 27.4 °C, of 25 °C at most."),
    ],
)
def test_a_rule_that_is_not_met(bench: Bench, farm: FakeStf, rules: dict[str, float], said: str) -> None:
    found = run(bench, leased(bench, farm, rules=rules))
    assert found.code == DEVICE and said in found.err, found
    assert f"{LEASED} at {farm.url}" in found.err.splitlines()[-2]
    assert farm.asked[-2:] == GIVEN_BACK
    assert ("cooling down" in found.err) == ("cool_down_seconds" in rules)
    assert not any("--graph=" in command for command in bench.fake.commands)


def test_a_phone_that_cools_down(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    battery = bench.fake.root / "system/etc/battery.txt"
    before = battery.read_text()
    assert "temperature: 274" in before

    def cool(_seconds: float) -> None:
        battery.write_text(before.replace("temperature: 274", "temperature: 240"))

    monkeypatch.setattr("mobilekit.bench.fleet.pick.time.sleep", cool)
    try:
        said = run(bench, cable(bench, rules={"highest_celsius": 25, "cool_down_seconds": 60}))
    finally:
        battery.write_text(before)
    assert said.code == 0 and "27.4 °C, of 25 °C at most; cooling down, 60 s left" in said.err
    asked = "\n".join(bench.fake.commands)
    assert asked.index("exec true") < asked.index("set-fixed-performance-mode-enabled true"), "it cools as it is"


def test_a_phone_that_is_in_use(bench: Bench, farm: FakeStf) -> None:
    farm.phones[LEASED].owner = {"email": "you@example.org", "name": "You"}
    said = run(bench, leased(bench, farm))
    farm.phones[LEASED].owner = None
    assert said.code == DEVICE
    assert f"No phone of label:pinecone was free for 0 s. {LEASED} is in use at {farm.url} by You." in said.err
    assert farm.asked == [f"GET /devices/{LEASED}"], "what others have is not given back"


def test_a_phone_is_waited_for(bench: Bench, farm: FakeStf) -> None:
    """First somebody has it, then somebody is quicker, then it is free."""
    farm.phones[LEASED].owner = {"email": "you@example.org"}
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 1:
            farm.end_lease(LEASED)
            farm.answers["POST /user/devices"] = (403, {"success": False, "description": "Device is being used"})
        if len(looks) == 3:
            farm.answers.clear()

    farm.on[f"GET /devices/{LEASED}"] = look
    said = run(bench, leased(bench, farm, wait_seconds=60))
    assert said.code == 0 and said.problems == [], said
    assert "waiting for a phone pinecone: 1 of 1 is in use, " in said.err
    assert len(looks) == 3


def test_another_phone_of_the_label_is_taken(bench: Bench, farm: FakeStf) -> None:
    """One that is not there and one that a bench of this machine has do not stand in the way of the third."""
    bench.fake.reconnect()
    farm.phones["BUSY"] = Phone(bench.fake.serial)
    names = ["GONE", "BUSY", LEASED]
    host = {"url": farm.url, "token": "STF_TOKEN", "plain_http": True}
    host["phones"] = [{"serial": name, "labels": ["pinecone"]} for name in names]
    with locked(f"BUSY at {farm.url}"):
        said = run(bench, write(bench, {"stf": [host]}))
    assert said.code == 0 and f"The phone is {LEASED} at {farm.url}." in said.json["notes"], said
    assert farm.asked[:2] == ["GET /devices/GONE", f"GET /devices/{LEASED}"]


def test_the_phones_own_lock_counts(bench: Bench) -> None:
    from mobilekit.bench.devices.select import find_devices

    [device] = find_devices("adb").devices
    with device.open_workspace():
        said = run(bench, cable(bench))
    assert said.code == DEVICE and "was free for 0 s" in said.err and "is in use by process" in said.err


def test_a_token_that_is_not_taken(bench: Bench, farm: FakeStf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STF_TOKEN", "other")
    said = run(bench, leased(bench, farm))
    assert said.code == DEVICE
    assert f"{farm.url} does not take the token in STF_TOKEN: Bad Credentials." in said.err and "other" not in said.err
    monkeypatch.delenv("STF_TOKEN")
    said = run(bench, "fleet.yaml")
    assert said.code == USAGE and "The environment variable STF_TOKEN is not set" in said.err


def test_a_farm_that_refuses_to_connect_gets_its_phone_back(bench: Bench, farm: FakeStf) -> None:
    farm.answers[f"POST /user/devices/{LEASED}/remoteConnect"] = (504, {"success": False, "description": "No answer"})
    said = run(bench, leased(bench, farm))
    assert said.code == DEVICE and f"{farm.url} refused: No answer." in said.err
    assert farm.asked[-1] == GIVEN_BACK[-1]


def test_a_lease_that_may_have_been_given_is_given_back(bench: Bench, farm: FakeStf) -> None:
    farm.on["POST /user/devices"] = lambda: setattr(farm.phones[LEASED], "owner", ME)
    farm.answers["POST /user/devices"] = (504, {"success": False, "description": "Device is not responding"})
    said = run(bench, leased(bench, farm))
    assert said.code == DEVICE and "Device is not responding" in said.err
    assert farm.asked[-1] == GIVEN_BACK[-1] and farm.phones[LEASED].owner is None


def test_a_farm_that_is_away_when_it_is_to_have_its_phone_back(bench: Bench, farm: FakeStf) -> None:
    farm.answers[GIVEN_BACK[-1]] = (0, {})
    said = run(bench, leased(bench, farm))
    assert said.code == 0 and said.json["results"], "the figures are there"
    [warning] = said.problems
    assert warning.startswith(f"warning: {LEASED} could not be given back: {farm.url} does not answer: ")
    assert "without, it is free after 900 s" in said.err
    assert farm.asked.count(GIVEN_BACK[-1]) == 3


def test_a_lease_that_ends_in_the_middle(bench: Bench, farm: FakeStf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The farm hangs up, and the rounds that were finished are given out."""
    monkeypatch.setattr("mobilekit.bench.devices.workspace.RECOVER_SECONDS", 0.5)
    farm.on[f"POST /user/devices/{LEASED}/remoteConnect"] = lambda: farm.end_lease(LEASED)
    with bench.fake.faulty(drop_on_command="--graph=", drop_after_commands=2, stays_away=True):
        bench.fake.adb("disconnect", bench.fake.serial)
        said = run(bench, leased(bench, farm), "a.tflite", "--rounds", "6", "--json")
    assert said.code == DEVICE and len(said.json["results"][0]["raw_ms"]) == 2
    assert f"warning: {farm.url} had ended the lease of {LEASED}: it was not used for 900 s" in said.err
    bench.fake.reset()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["INT", "TERM", "KILL"],
)
def test_a_bench_that_is_stopped_gives_the_phone_back(
    bench: Bench, farm: FakeStf, number: signal.Signals, code: int
) -> None:
    fleet = leased(bench, farm)
    command = [sys.executable, "-m", "mobilekit", "bench", *ONE, "--device", "label:pinecone", "--fleet", fleet]
    with bench.fake.faulty(hang=True):
        bench.fake.adb("disconnect", bench.fake.serial)
        process = subprocess.Popen(
            [*command, "--benchmark-binary", bench.program],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(bench.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        assert wait_until(lambda: (bench.fake.state / "benchmarks").exists())
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, ""), err
    assert wait_until(lambda: farm.phones[LEASED].owner is None) and farm.asked[-2:] == GIVEN_BACK
    if number == signal.SIGKILL:  # the next bench would clear it
        bench.fake.reset()
        for holder in (bench.folder / "state").rglob("*.holder"):
            holder.unlink()
