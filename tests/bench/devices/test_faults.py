"""What goes wrong with devices: each fault becomes an error that says so, and nothing is left behind.

The device is the fake one, through a real adb server.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mobilekit.bench.devices.base import Device, Finished
from mobilekit.bench.devices.select import find_devices
from mobilekit.errors import DeviceError
from mobilekit.store.files import sha256_of
from tests.command_line import heed_interrupts
from tests.conftest import ROOT
from tests.fake_device import FakeDevice, fake_benchmark_model, fake_model

PATIENCE = 10.0
TMP = "/data/local/tmp"
STORE = f"{TMP}/mobilekit-store"
DEVICE_FAILED = 3
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


@pytest.fixture
def fake(shared: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """The fake device, to which the environment leads."""
    shared.reset()
    for name in ("ANDROID_SERIAL", "ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    return shared


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("models") / "model.tflite"
    file.write_bytes(fake_model(4 * MEBIBYTE))
    return file


def find(word: str = "adb") -> Device:
    [device] = find_devices(word).devices
    return device


def bench(model: Path, *, word: str = "adb", timeout: float = 30) -> Finished:
    """Do what a bench does: bring the program and the graph, and run."""
    with find(word).open_workspace() as workspace:
        program = workspace.install(fake_benchmark_model(), executable=True)
        graph = workspace.install(model)
        return workspace.run([program, f"--graph={graph}", "--num_runs=5"], cpu_mask="f0", timeout=timeout)


@contextmanager
def device_error(words: str) -> Iterator[None]:
    """Expect an error for the user that has these words, a hint, and the exit code of devices."""
    with pytest.raises(DeviceError, match=words) as caught:
        yield
    assert caught.value.exit_code == DEVICE_FAILED
    assert caught.value.hint


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.01)
    return False


def is_clean(fake: FakeDevice) -> bool:
    """Whether nothing runs on the device, and nothing is there but the store: whole files, and stamps of them."""
    stored = [path.removeprefix(f"{STORE}/") for path in fake.files() if path.startswith(f"{STORE}/")]
    files = [name for name in stored if not name.startswith("stamp-")]
    allowed = {STORE, *(f"{STORE}/{prefix}{name}" for name in files for prefix in ("", "stamp-"))}
    whole = all(name.startswith(sha256_of(fake.paths.to_host(f"{STORE}/{name}"))) for name in files)
    return fake.processes() == [] and set(fake.files()) <= allowed and whole


def assert_usable(fake: FakeDevice, model: Path) -> None:
    """The device is clean after the next bench, which gets the lock and works."""
    assert bench(model).exit_code == 0
    assert wait_until(lambda: is_clean(fake)), (fake.files(), fake.processes())


def test_a_device_that_is_well(fake: FakeDevice, model: Path) -> None:
    done = bench(model)
    assert done.exit_code == 0 and done.stderr == ""
    graph = f"{STORE}/{sha256_of(model)}-model.tflite"
    assert f"INFO: Graph: [{graph}]\n" in done.stdout and "Inference timings in us" in done.stdout
    assert any(re.search(rf"taskset f0 \S+ --graph={graph} --num_runs=5", command) for command in fake.commands)
    assert is_clean(fake)


def test_what_a_device_says_of_itself(fake: FakeDevice) -> None:
    device = find(f"adb:{fake.serial}")
    facts = device.facts
    assert (facts.name, facts.model, facts.abi) == (f"adb:{fake.serial}", "Pinecone 8", "arm64-v8a")
    assert (facts.soc, facts.os, facts.governor) == ("Acorn Oak G3", "Android 14", "schedutil")
    assert [core.max_khz for core in facts.cores] == [1_785_600] * 4 + [2_496_000] * 3 + [2_995_200]
    assert facts.fingerprint == "acorn/pinecone/pinecone:14/UQ1A.240105.004/11206848:user/release-keys"
    assert not facts.emulated
    state = device.read_state()
    assert (state.thermal_status, state.battery_percent, state.battery_celsius) == (0, 81, 27.4)
    assert state.frequencies_khz == (614_400,) * 8


def test_thermal_states(fake: FakeDevice) -> None:
    with fake.faulty(thermal=(0, 3, 0)):
        device = find()
        assert [device.read_state().thermal_status for _ in range(4)] == [0, 3, 0, 0]
    with fake.faulty(thermal=(None,)):
        state = find().read_state()
        assert state.thermal_status is None and state.battery_percent == 81


# A device that cannot be used at all


def test_unauthorized(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(unauthorized=True), device_error(f"{fake.serial} has not allowed this computer"):
        find()
    assert_usable(fake, model)


def test_offline(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(offline=True), device_error(f"{fake.serial} is offline"):
        find()
    assert_usable(fake, model)


def test_no_device(fake: FakeDevice) -> None:
    with device_error("adb sees no device NOSUCH"):
        find("adb:NOSUCH")


def test_two_devices(fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeDevice(tmp_path / "second", beside=fake) as second:
        with device_error("adb sees 2 devices"):
            find()
        assert find(f"adb:{second.serial}").facts.name == f"adb:{second.serial}"
        assert {device.facts.name for device in find_devices("adb:all").devices} == {
            f"adb:{fake.serial}",
            f"adb:{second.serial}",
        }
        monkeypatch.setenv("ANDROID_SERIAL", second.serial)
        assert find().facts.name == f"adb:{second.serial}"
        with second.faulty(offline=True), device_error("is offline"):
            find()


def test_a_device_goes_offline_between_two_steps(fake: FakeDevice, model: Path) -> None:
    device = find()
    with fake.faulty(offline=True), device_error("is offline"), device.open_workspace():
        pass
    assert_usable(fake, model)


# A device that is lost


@pytest.mark.parametrize("stays_away", [False, True])
def test_lost_in_a_push(fake: FakeDevice, model: Path, stays_away: bool) -> None:
    with (
        fake.faulty(drop_after_push_bytes=MEBIBYTE, stays_away=stays_away),
        device_error(f"{fake.serial} (was lost in the middle of the transfer|is offline)"),
    ):
        bench(model)
    assert_usable(fake, model)


@pytest.mark.parametrize("count", [0, 1, 200])
@pytest.mark.parametrize("stays_away", [False, True])
def test_lost_in_a_run(fake: FakeDevice, model: Path, stays_away: bool, count: int) -> None:
    faults = {"drop_on_command": "--num_runs", "drop_after_output_bytes": count, "stays_away": stays_away}
    with fake.faulty(**faults), device_error(f"{fake.serial} was lost in the middle of a command"):
        bench(model)
    assert_usable(fake, model)


@pytest.mark.parametrize("command", ["mkdir", "sha256sum.*df", "mv -f", "rm -rf"])
def test_lost_in_a_small_command(fake: FakeDevice, model: Path, command: str) -> None:
    with fake.faulty(drop_on_command=command):
        if command == "rm -rf":  # the work is done; what could not be removed goes the next time
            assert bench(model).exit_code == 0
        else:
            with device_error(f"{fake.serial} was lost in the middle of a command"):
                bench(model)
    assert_usable(fake, model)


def test_lost_while_a_program_does_not_end(fake: FakeDevice, model: Path) -> None:
    with (
        fake.faulty(hang=True, orphans=True, drop_on_command="--num_runs", drop_after_output_bytes=20),
        device_error("was lost in the middle of a command"),
    ):
        bench(model)
    assert_usable(fake, model)


def test_lost_without_shell_v2(fake: FakeDevice, model: Path) -> None:
    with (
        fake.faulty(no_shell_v2=True, drop_on_command="--num_runs", drop_after_output_bytes=200),
        device_error("was lost in the middle of a command"),
    ):
        bench(model)
    assert_usable(fake, model)


def test_the_server_is_lost(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeDevice(tmp_path / "root") as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        with fake.faulty(hang=True):
            device = find(f"adb:{fake.serial}")
            with device_error("was lost|does not answer"), device.open_workspace() as workspace:
                program = workspace.install(fake_benchmark_model(), executable=True)
                graph = workspace.install(model)
                fake.stop_server()
                workspace.run([program, f"--graph={graph}"])
            assert wait_until(lambda: fake.processes() == [])


# A device that is there, and refuses or dawdles


def test_no_space(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(no_space=True), device_error(f"{fake.serial} has 0 MB left in {TMP}: no room for"):
        bench(model)
    assert_usable(fake, model)


def test_no_space_that_shows_only_in_the_push(fake: FakeDevice, model: Path) -> None:
    df = fake.root / "system/bin/df"
    text = df.read_text()
    df.write_text("#!/bin/sh\nexit 1\n")
    try:
        with (
            fake.faulty(no_space=True),
            pytest.raises(DeviceError, match=r"cannot take benchmark_model\.sh: .*No space left on device"),
        ):
            bench(model)
    finally:
        df.write_text(text)
    assert_usable(fake, model)


def test_no_place_to_write(fake: FakeDevice, model: Path) -> None:
    (fake.root / "data/local/tmp").rename(fake.root / "data/local/away")
    (fake.root / "data/local/tmp").touch()
    try:
        with device_error(f"{fake.serial} has no place to work in: .*Not a directory"):
            bench(model)
    finally:
        (fake.root / "data/local/tmp").unlink()
        (fake.root / "data/local/away").rename(fake.root / "data/local/tmp")
    assert_usable(fake, model)


def test_a_slow_device_is_waited_for(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(slow_bytes_per_second=16 * MEBIBYTE):
        assert bench(model).exit_code == 0
    assert is_clean(fake)


def test_a_transfer_in_which_nothing_moves(fake: FakeDevice, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.bench.devices.adb._STALL_SECONDS", 0.5)
    with fake.faulty(stall_after_push_bytes=MEBIBYTE):
        with device_error("did not answer for .* in the transfer of model"):
            bench(model)
        assert wait_until(lambda: is_clean(fake))
    assert_usable(fake, model)


def test_an_old_device_gives_exit_codes_all_the_same(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(no_shell_v2=True):
        done = bench(model)
        assert done.exit_code == 0 and "\r" not in done.stdout and "Inference timings in us" in done.stdout
    with fake.faulty(no_shell_v2=True, kill_process=True):
        assert bench(model).exit_code == 128 + signal.SIGKILL
    assert is_clean(fake)


# Programs that end badly


def test_a_program_is_killed(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(kill_process=True):
        done = bench(model)
    assert done.exit_code == 128 + signal.SIGKILL and "Running benchmark" in done.stdout
    assert is_clean(fake)


def test_a_program_for_another_processor(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(wrong_abi=True):
        done = bench(model)
    assert done.exit_code == 126 and "Exec format error" in done.stderr
    assert is_clean(fake)


def test_a_program_that_prints_no_text(fake: FakeDevice, model: Path) -> None:
    with fake.faulty(garbage_output=True):
        done = bench(model)
    assert done.exit_code == 0 and "\N{REPLACEMENT CHARACTER}" in done.stdout
    assert is_clean(fake)


@pytest.mark.parametrize("no_shell_v2", [False, True])
def test_a_program_that_does_not_end(fake: FakeDevice, model: Path, no_shell_v2: bool) -> None:
    with fake.faulty(hang=True, no_shell_v2=no_shell_v2, orphans=True):
        with device_error(r"did not end within 0\.6 s"):
            bench(model, timeout=0.6)
        assert is_clean(fake)
    assert_usable(fake, model)


# A session that ends badly

SESSION = """
import sys
from pathlib import Path
from mobilekit.bench.devices.select import find_devices
[device] = find_devices("adb").devices
with device.open_workspace() as workspace:
    program = workspace.install(Path(sys.argv[1]), executable=True)
    graph = workspace.install(Path(sys.argv[2]))
    workspace.run([program, f"--graph={graph}"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_session_is_killed(fake: FakeDevice, model: Path, number: signal.Signals) -> None:
    with fake.faulty(hang=True, orphans=True):
        session = subprocess.Popen(
            [sys.executable, "-c", SESSION, fake_benchmark_model(), model],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        assert wait_until(lambda: len(fake.processes()) >= 1 and any("--graph" in each for each in fake.commands))
        assert wait_until(lambda: (fake.state / "benchmarks").exists()), "the program runs"
        with device_error(f"{fake.serial} is in use by process {session.pid}"), find().open_workspace():
            pass
        session.send_signal(number)
        session.communicate(timeout=PATIENCE)
        if number == signal.SIGINT:
            assert is_clean(fake), (fake.files(), fake.processes())
    assert_usable(fake, model)


def test_a_damaged_file_in_the_store_is_sent_again(fake: FakeDevice, model: Path) -> None:
    bench(model)
    kept = fake.paths.to_host(f"{STORE}/{sha256_of(model)}-model.tflite")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert bench(model).exit_code == 0
    assert kept.read_bytes() == model.read_bytes()
