"""What goes wrong in a bench: each fault ends in its message and exit code, JSON stays JSON, and nothing is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bench.devices.test_faults import PATIENCE, STORE, TMP, is_clean, wait_until
from tests.bench_cli import Bench, Said, problems_of
from tests.command_line import heed_interrupts
from tests.conftest import ROOT, Cli
from tests.fake_device import FakeDevice, fake_benchmark_model

REFUSED, USAGE, DEVICE = 1, 2, 3
INTERRUPTED = 130
ONE = ("a.tflite", "--rounds", "1", "--json")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


@pytest.fixture
def bench(
    fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(fake, tmp_path, monkeypatch, capsys)


def assert_nothing_left(bench: Bench) -> None:
    assert wait_until(lambda: is_clean(bench.fake)), (bench.fake.files(), bench.fake.processes())
    assert bench.left_here() == []


def assert_device_error(said: Said, *words: str) -> None:
    """The error says so in one to three lines, and nothing pretends to be a result."""
    assert said.code == DEVICE, said
    assert said.out == ""
    error = said.err[said.err.index("error: ") :]  # before it, the steps that went well
    assert 2 <= len(error.splitlines()) <= 3
    assert "Traceback" not in said.err
    for word in words:
        assert re.search(word, said.err), said.err


def assert_usable(bench: Bench) -> None:
    """The next bench works, and removes what a lost device kept."""
    said = bench(*ONE)
    assert said.code == 0, said.err
    assert_nothing_left(bench)


# A device that cannot be used, or is lost


@dataclass(frozen=True)
class Fault:
    faults: dict[str, Any]
    words: tuple[str, ...]
    more: tuple[str, ...] = field(default=())


REAL = ROOT / "tests" / "data" / "lab_session" / "small.tflite"
IN_A_RUN = {"drop_on_command": "--num_runs", "drop_after_output_bytes": 200}
DEVICE_FAULTS = {
    "unauthorized": Fault({"unauthorized": True}, ("has not allowed this computer", "Allow USB debugging")),
    "offline": Fault({"offline": True}, ("is offline", "Plug it in again")),
    "no space": Fault({"no_space": True}, (f"0 MB left in {TMP}: no room for benchmark_model.sh", "Make room")),
    "lost in a push": Fault(
        {"drop_after_push_bytes": 2**16}, ("was lost in the middle of the transfer of a.tflite", "mobilekit devices")
    ),
    "lost in a push, stays away": Fault(
        {"drop_after_push_bytes": 2**16, "stays_away": True}, ("was lost in the middle of the transfer of a.tflite",)
    ),
    "lost in a run": Fault(IN_A_RUN, ("was lost in the middle of a command", "mobilekit devices")),
    "lost in a run, stays away": Fault({**IN_A_RUN, "stays_away": True}, ("was lost in the middle of a command",)),
    "lost in a run, no shell_v2": Fault({**IN_A_RUN, "no_shell_v2": True}, ("was lost in the middle of a command",)),
    "lost between runs": Fault({"drop_on_command": "dumpsys"}, ("was lost in the middle of a command",)),
}


@pytest.mark.parametrize("fault", DEVICE_FAULTS.values(), ids=DEVICE_FAULTS)
def test_a_device_that_fails(bench: Bench, fault: Fault) -> None:
    with bench.fake.faulty(**fault.faults):
        said = bench(*ONE)
    assert_device_error(said, *fault.words)
    assert bench.left_here() == []
    assert_usable(bench)


def test_lost_in_the_profile_when_the_latencies_are_there(bench: Bench) -> None:
    with bench.fake.faulty(drop_on_command="enable_op_profiling"):
        said = bench(REAL, "--rounds", "1", "--json", "--profile")
    assert said.code == 0
    assert said.json["results"][0]["accepted"] and said.json["profiles"] == {}
    [note] = said.json["notes"]
    assert re.match(r"No profile of small.tflite: .* was lost in the middle of a command", note)
    assert_usable(bench)


def test_no_device(bench: Bench) -> None:
    assert_device_error(bench(*ONE, device="adb:R5CT10ABCDE"), "adb sees no device R5CT10ABCDE, but 127.0.0.1:")
    bench.fake.adb("disconnect", bench.fake.serial)
    try:
        assert_device_error(bench(*ONE), "adb sees no device", "Plug in a phone")
        assert_device_error(bench(*ONE, device="adb:all"), "adb sees no device", "--device local needs none")
    finally:
        bench.fake.reconnect()
    assert_usable(bench)


def test_several_devices(bench: Bench, tmp_path: Path) -> None:
    with FakeDevice(tmp_path / "second", beside=bench.fake) as second:
        said = bench(*ONE)
        assert_device_error(said, "adb sees 2 devices", "Name one, as in --device adb:127.0.0.1:", "adb:all")
        assert bench.fake.serial in said.err and second.serial in said.err
        assert bench(*ONE, device=f"adb:{second.serial}").json["device"]["name"] == f"adb:{second.serial}"
        [identity] = bench.fake.commands
        assert "ro.serialno" in identity and "mkdir" not in identity, "it is asked who it is, and left alone"


def test_no_adb_server(bench: Bench) -> None:
    said = bench(*ONE, "--adb-server", "127.0.0.2:9")
    assert_device_error(said, "No adb server answers at 127.0.0.2:9", "adb -a nodaemon server")
    said = bench(*ONE, "--adb-server", "127.0.0.2:port")
    assert said.code == USAGE and "--adb-server has no TCP port: 'port'" in said.err


# A device that works, but slowly or as it did ten years ago


@pytest.mark.parametrize("faults", [{"no_shell_v2": True}, {"slow_bytes_per_second": 2**21}], ids=["old", "slow link"])
def test_a_device_that_works_all_the_same(bench: Bench, faults: dict[str, Any]) -> None:
    with bench.fake.faulty(**faults):
        said = bench(*ONE)
        assert said.code == 0 and said.json["results"][0]["accepted"], said
        assert_nothing_left(bench)


# Runs that do not count


RUN_FAULTS = {
    "killed": Fault({"kill_process": True}, ("ended by SIGKILL .exit status 137.", "may be out of memory")),
    "killed, no shell_v2": Fault({"kill_process": True, "no_shell_v2": True}, ("ended by SIGKILL",)),
    "garbage": Fault({"garbage_output": True}, ("benchmark_model does not say which model it ran",)),
    "truncated": Fault({"truncated_output": True}, ("benchmark_model printed no result",)),
    "another processor's": Fault({"wrong_abi": True}, ("cannot be run .exit status 126.", "Exec format error")),
    "silent fallback": Fault(
        {"silent_fallback": True}, ('"will not be executed by the delegate" XNNPACK',), ("--delegate", "xnnpack")
    ),
    "no such delegate": Fault({"unconsumed_flags": True}, ("does not know .*--use_gpu=true",), ("--delegate", "gpu")),
    "unconsumed flags": Fault({"unconsumed_flags": True}, ("does not know --num_threads=1 --num_runs=20",)),
    "too hot": Fault({"thermal": (3,)}, ("Stopped after 6 rejected rounds", "thermal status 3")),
}


@pytest.mark.parametrize("fault", RUN_FAULTS.values(), ids=RUN_FAULTS)
def test_a_run_that_does_not_count(bench: Bench, fault: Fault) -> None:
    with bench.fake.faulty(**fault.faults):
        said = bench(*ONE, *fault.more)
        assert_nothing_left(bench)
    assert_refused(said, *fault.words)


def test_a_run_that_does_not_count_is_shown(bench: Bench) -> None:
    with bench.fake.faulty(kill_process=True):
        said = bench("a.tflite", "--rounds", "1")
    assert said.code == REFUSED and said.problems == []
    assert re.search(r"^a\.tflite +refused *$", said.out, re.MULTILINE)
    assert re.search(r"^refused: a\.tflite: benchmark_model was ended by SIGKILL", said.out, re.MULTILINE)


def assert_refused(said: Said, *words: str) -> None:
    """No figure is claimed, and the reason is there."""
    assert said.code == REFUSED, said
    [result] = said.json["results"]
    assert not result["accepted"] and result["latency_ms"] is None and result["memory_mb"] is None
    assert result["raw_ms"] == [] and said.json["comparisons"] == []
    for word in words:
        assert re.search(word, result["why_not"]), result["why_not"]


# Programs that do something else than what they were asked, told by what they say
LIARS = {
    "no word of the graph": ('info("Graph: [" graph "]")', "", "does not say which model it ran"),
    "another graph": ('info("Graph: [" graph "]")', 'info("Graph: [/data/b.tflite]")', "ran /data/b.tflite instead of"),
    "the graph is gone": ("#!/bin/sh\n", '#!/bin/sh\nrm -f "${1#--graph=}"\n', "Could not open"),
    "figures that cannot be": ("average = total / n", "average = 2 * high", "contradict each other"),
}


@pytest.mark.parametrize(("old", "new", "words"), LIARS.values(), ids=LIARS)
def test_a_program_that_did_something_else(bench: Bench, old: str, new: str, words: str) -> None:
    text = fake_benchmark_model().read_text()
    assert old in text
    bench.program = bench.folder / "liar.sh"
    bench.program.write_text(text.replace(old, new, 1))
    assert_refused(bench(*ONE), words)
    assert_nothing_left(bench)


def test_what_is_refused_does_not_stop_the_others(bench: Bench) -> None:
    text = fake_benchmark_model().read_text()
    bench.program = bench.folder / "picky.sh"
    bench.program.write_text(text.replace("#!/bin/sh\n", "#!/bin/sh\ncase $1 in *-b.tflite) exit 7;; esac\n", 1))
    said = bench("a.tflite", "b.tflite", "c.tflite", "--rounds", "2", "--json")
    assert said.code == USAGE and "There is no file c.tflite" in said.err
    said = bench("a.tflite", "b.tflite", "--rounds", "2", "--json")
    assert said.code == REFUSED
    first, second = said.json["results"]
    assert first["accepted"] and len(first["raw_ms"]) == 2
    assert not second["accepted"] and "exit status 7" in second["why_not"]
    assert sum("b.tflite --num_threads" in command for command in bench.fake.commands) == 1, "given up at once"


# Heat


def test_a_round_that_ends_hot_is_repeated(bench: Bench) -> None:
    with bench.fake.faulty(thermal=(0, 2, 0)):
        said = bench("a.tflite", "b.tflite", "--rounds", "2", "--json")
    assert said.code == 0
    rounds = said.json["rounds"]
    assert [(each["index"], each["rejected"]) for each in rounds] == [
        (0, "the device reported thermal status 2"),
        (0, None),
        (1, None),
    ]
    assert [each["after"]["thermal_status"] for each in rounds] == [2, 0, 0]
    for result in said.json["results"]:
        runs = [each["runs"][result["file"]]["latency_ms"] for each in rounds]
        assert result["raw_ms"] == runs[1:] and result["rounds"] == 2, "what is rejected is kept, and not counted"
    assert_nothing_left(bench)


def test_on_a_hot_device_nothing_runs(bench: Bench) -> None:
    with bench.fake.faulty(thermal=(4,)):
        said = bench(*ONE)
        assert not (bench.fake.state / "benchmarks").exists()
    assert_refused(said, "Stopped after 6 rejected rounds, the last because the device reported thermal status 4")
    assert said.json["notes"] == [said.json["results"][0]["why_not"]]


def test_with_a_hot_battery_nothing_runs(bench: Bench) -> None:
    file = bench.fake.root / "system/etc/battery.txt"
    text = file.read_text()
    file.write_text(text.replace("temperature: 274", "temperature: 461"))
    try:
        assert_refused(bench(*ONE), "Stopped after 6 rejected rounds, the last because the battery was at 46.1 °C")
    finally:
        file.write_text(text)


def test_a_device_that_becomes_hot_keeps_what_it_had(bench: Bench) -> None:
    with bench.fake.faulty(thermal=(0, 0, 0, 3)):
        said = bench("a.tflite", "--rounds", "6", "--json")
    assert said.code == 0
    [result] = said.json["results"]
    assert result["accepted"] and result["rounds"] == 2
    assert re.search("Stopped after 6 rejected rounds", said.json["notes"][0])
    assert result["latency_ms"]["confidence"] == 0.5, "two rounds say little, and this says so"


# What is refused before anything is sent


def test_a_binary_for_another_processor_is_not_sent(bench: Bench) -> None:
    bench.program = Path(sys.executable).resolve()
    said = bench(*ONE)
    assert said.code == USAGE and said.out == ""
    assert re.search("is for x86_64|is for arm64-v8a", said.err) and "the device is arm64-v8a" in said.err
    assert not any("mv -f" in command for command in bench.fake.commands)
    assert_nothing_left(bench)


def test_cores_that_are_not_there(bench: Bench) -> None:
    said = bench(*ONE, "--cpus", "f00")
    assert said.code == USAGE and said.out == ""
    assert f"adb:{bench.fake.serial} has no core in the mask f00.\nAll it has: --cpus ff." in said.err
    assert not any("--graph=" in command for command in bench.fake.commands)


@pytest.mark.parametrize(
    ("faults", "code"), [({"kill_process": True}, REFUSED), ({"unauthorized": True}, DEVICE)], ids=["refused", "device"]
)
def test_in_a_process_of_its_own(bench: Bench, cli_apart: Cli, faults: dict[str, Any], code: int) -> None:
    with bench.fake.faulty(**faults):
        done = cli_apart(*COMMAND[3:], bench.program, *ONE, cwd=bench.folder)
    assert done.returncode == code
    if code == REFUSED:
        assert json.loads(done.stdout)["results"][0]["accepted"] is False
    else:
        assert_device_error(Said(done.returncode, done.stdout, done.stderr), "has not allowed this computer")
    assert_usable(bench)


# Benches that end from this side

COMMAND = [sys.executable, "-m", "mobilekit", "bench", "--device", "adb", "--benchmark-binary"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 128 + signal.SIGTERM)], ids=["INT", "TERM"]
)
def test_a_bench_is_stopped_and_meanwhile_the_device_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(bench.folder / "scratch"))
    with bench.fake.faulty(hang=True, orphans=True):
        first = subprocess.Popen(
            [*COMMAND, bench.program, *ONE],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        try:
            assert wait_until(lambda: (bench.fake.state / "benchmarks").exists()), "the program runs"
            second = bench(*ONE)
            assert_device_error(second, f"{bench.fake.serial} is in use by process {first.pid}", "Wait until that ends")
            assert first.poll() is None, "the first goes on"
        finally:
            first.send_signal(number)
            out, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == code, err
    assert out == ""
    interrupted = ["error: interrupted; nothing was left behind."]
    assert problems_of(err) == (interrupted if number == signal.SIGINT else [])
    assert_nothing_left(bench)
    assert f"{STORE}/" in "".join(bench.fake.files()), "the store is kept: nothing needs to be sent again"
