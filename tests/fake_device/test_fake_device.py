"""The fake device against the real adb programs: it must behave, and misbehave, as devices do."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import adbutils
import numpy
import pytest

from tests.command_line import heed_interrupts
from tests.fake_device import FakeDevice, bundled_adb
from tests.fake_device.paths import Paths

PATIENCE = 10.0
TMP = "/data/local/tmp"
MEBIBYTE = 2**20

# A client that cannot tell an exit code gives 0; an old one also when the connection was lost.
BUNDLED, DEBIAN = "adbutils", "on PATH"
ADBS = {BUNDLED: bundled_adb()} | ({DEBIAN: Path(found)} if (found := shutil.which("adb")) else {})


@pytest.fixture(scope="module", params=ADBS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root", adb=ADBS[request.param]) as device:
        yield device


@pytest.fixture
def device(shared: FakeDevice) -> FakeDevice:
    shared.reset()
    return shared


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("files") / "random.bin"
    file.write_bytes(numpy.random.default_rng(7).bytes(20 * MEBIBYTE))
    return file


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.01)
    return False


def shell(device: FakeDevice, command: str) -> tuple[int, str, str]:
    done = device.adb("shell", command)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# What works


def test_it_is_listed_once_with_its_names(device: FakeDevice) -> None:
    listed = device.adb("devices", "-l").stdout.decode().strip().splitlines()[1:]
    assert len(listed) == 1
    assert re.fullmatch(
        rf"{device.serial} +device product:pinecone model:Pinecone_8 device:pinecone transport_id:\d+", listed[0]
    )


def test_files_come_back_as_they_went(device: FakeDevice, random_file: Path, tmp_path: Path) -> None:
    assert device.adb("push", random_file, f"{TMP}/new folder/x.bin").returncode == 0
    expected = digest(random_file.read_bytes())
    assert shell(device, f"sha256sum '{TMP}/new folder/x.bin'") == (0, f"{expected}  {TMP}/new folder/x.bin\n", "")
    assert device.adb("pull", f"{TMP}/new folder/x.bin", tmp_path / "back.bin").returncode == 0
    assert digest((tmp_path / "back.bin").read_bytes()) == expected


def test_folders_and_modes_and_times_travel(device: FakeDevice, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "tool").write_text("#!/bin/sh\necho ran\n")
    (folder / "inner" / "tool").chmod(0o755)
    (folder / "empty").touch()
    os.utime(folder / "empty", (1_600_000_000, 1_600_000_000))
    assert device.adb("push", folder, TMP).returncode == 0
    assert device.files() == [f"{TMP}/folder{name}" for name in ("", "/empty", "/inner", "/inner/tool")]
    assert shell(device, f"{TMP}/folder/inner/tool; stat -c '%a %Y' {TMP}/folder/empty") == (
        0,
        "ran\n666 1600000000\n",
        "",
    )
    assert device.adb("pull", f"{TMP}/folder", tmp_path / "back").returncode == 0
    assert (tmp_path / "back" / "inner" / "tool").read_text() == "#!/bin/sh\necho ran\n"


def test_exit_codes_and_both_outputs_arrive(device: FakeDevice) -> None:
    assert shell(device, "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert shell(device, "kill -KILL $$")[0] == 128 + signal.SIGKILL
    assert shell(device, f"{TMP}/missing")[0] == 127
    device.adb("push", __file__, f"{TMP}/plain")
    code, _, words = shell(device, f"{TMP}/plain")
    assert code == 126 and "Permission denied" in words


def test_input_reaches_the_command(device: FakeDevice) -> None:
    data = numpy.random.default_rng(3).bytes(300_000)
    done = device.adb("shell", "sha256sum", stdin=data)
    assert done.stdout.decode().split()[0] == digest(data)


def test_binary_output_is_exact(device: FakeDevice, random_file: Path) -> None:
    device.adb("push", random_file, f"{TMP}/x.bin")
    expected = digest(random_file.read_bytes()[: 3 * MEBIBYTE])
    for service in ("shell", "exec-out"):
        assert digest(device.adb(service, f"head -c {3 * MEBIBYTE} {TMP}/x.bin").stdout) == expected


def test_eight_commands_run_at_once(device: FakeDevice) -> None:
    """None ends before all have begun."""

    def run(number: int) -> tuple[int, str, str]:
        meet = f"mkdir -p {TMP}/met; touch {TMP}/met/{number}"
        wait = f"while [ $(ls {TMP}/met | wc -l) -lt 8 ]; do sleep 0.02; done"
        return shell(device, f"{meet}; {wait}; seq {number}000; exit {number}")

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(run, range(1, 9)))
    assert [code for code, _, _ in results] == list(range(1, 9))
    assert [out.count("\n") for _, out, _ in results] == [1000 * i for i in range(1, 9)]


def test_an_interrupted_client_takes_its_processes_along(device: FakeDevice) -> None:
    client = subprocess.Popen(
        [device.program, "-s", device.serial, "shell", "sleep 600 & sleep 600"],
        env={**os.environ, **device.environment},
        stdin=subprocess.DEVNULL,
        preexec_fn=heed_interrupts,
    )
    assert wait_until(lambda: len(device.processes()) == 3)  # the shell and its two children
    client.send_signal(signal.SIGINT)
    client.wait(PATIENCE)
    assert wait_until(lambda: device.processes() == [])


def test_a_lost_client_may_leave_its_programs_running(device: FakeDevice) -> None:
    with device.faulty(orphans=True):
        with pytest.raises(subprocess.TimeoutExpired):
            device.adb("shell", "echo $$ >/data/local/tmp/shell; sleep 600; echo", timeout=0.5)
        shell_process = int((device.root / "data/local/tmp/shell").read_text())
        assert wait_until(lambda: shell_process not in device.processes())
        assert len(device.processes()) == 1
    device.reset()
    assert device.processes() == []


def test_paths_are_those_of_a_phone(device: FakeDevice) -> None:
    assert shell(device, "pwd") == (0, "/\n", "")
    assert shell(device, f"cd {TMP} && mkdir -p a/b && cd a/b && pwd && echo $TMPDIR") == (0, f"{TMP}/a/b\n{TMP}\n", "")
    assert shell(device, "ls /tmp")[0] != 0, "a phone has no /tmp"
    assert "/system/bin/getprop\n" in shell(device, "which getprop")[1]
    assert device.adb("push", __file__, "/system/x").returncode == 1
    assert not (device.root / "system/x").exists()


def test_the_phone_tells_of_itself(device: FakeDevice) -> None:
    assert shell(device, "getprop ro.product.cpu.abi; getprop ro.no.such none; uname -m")[1] == (
        "arm64-v8a\nnone\naarch64\n"
    )
    assert "[ro.build.version.release]: [14]\n" in shell(device, "getprop")[1]
    assert "  level: 81\n" in shell(device, "dumpsys battery")[1]
    assert "\nThermal Status: 0\n" in shell(device, "dumpsys thermalservice")[1]
    frequencies = shell(device, "cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq")[1]
    assert frequencies.split() == ["1785600"] * 4 + ["2496000"] * 3 + ["2995200"]
    assert shell(device, f"df -k {TMP} | tail -1 | awk '{{print $4}}'")[1] == "52428800\n"


def test_the_phone_runs_arm_code_as_far_as_one_can_see(device: FakeDevice) -> None:
    head = device.adb("exec-out", "head -c 19 /proc/$$/exe").stdout
    assert head[:4] == b"\x7fELF" and head[18] == 0xB7


def test_taskset_knows_the_cores_of_the_phone(device: FakeDevice) -> None:
    assert shell(device, "taskset f0 echo 'a  b' '$HOME'") == (0, "a  b $HOME\n", "")
    code, _, words = shell(device, "taskset f00 true")
    assert code == 1 and "Invalid argument" in words


def test_it_remembers_the_commands_as_they_were_sent(device: FakeDevice) -> None:
    shell(device, f"ls {TMP}")
    assert device.commands == [f"ls {TMP}"]


def test_two_devices_on_one_server_make_adb_ask_which(device: FakeDevice, tmp_path: Path) -> None:
    with FakeDevice(tmp_path / "second", beside=device) as second:
        assert shell(second, "echo $((6 * 7))") == (0, "42\n", "")
        environment = {**os.environ, **device.environment}
        done = subprocess.run([device.program, "shell", "true"], env=environment, capture_output=True, text=True)
        assert done.returncode == 1 and "more than one device/emulator" in done.stderr
    assert second.serial not in device.adb("devices").stdout.decode()
    assert shell(device, "true")[0] == 0


def test_nothing_is_left_when_it_ends(tmp_path: Path) -> None:
    with FakeDevice(tmp_path / "root") as device:
        device.adb("shell", "nohup sleep 600 >/dev/null 2>&1 </dev/null & echo")
        assert len(device.processes()) == 1
        server = device.adb_server
    assert device.processes() == []
    assert not server.runs
    with pytest.raises(ConnectionRefusedError):
        device.adb_server.ask("host:version")


def test_a_place_that_a_shell_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shell command"):
        FakeDevice(tmp_path / "a b")


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_output_names_device_paths_however_it_is_cut(tmp_path: Path, size: int) -> None:
    root = str(tmp_path)
    text = f"{root}/data/x {root} [{root}/y]{root[: len(root) // 2]}\n{root}".encode()
    output = Paths(tmp_path).output_filter()
    pieces = [output.feed(text[start : start + size]) for start in range(0, len(text), size)]
    assert b"".join([*pieces, output.flush()]).decode() == f"/data/x / [/y]{root[: len(root) // 2]}\n/"


def test_commands_are_led_to_the_root(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    for command in ("a/data/local", "$A/data", "${A}/data", "/database/x", "./data", "/proc/$$/stat", "s/data/x/"):
        assert paths.command_to_host(command) == command
    for command in ("cd /data/local/tmp", "--graph=/data/x", "'/data/a b'", "cat</proc/cpuinfo", "a:/sys/b", "ls /tmp"):
        assert paths.command_to_host(command) == re.sub("/(data|proc|sys|tmp)", rf"{tmp_path}/\1", command, count=1)
    assert paths.to_host("/data/../../../etc") == tmp_path / "etc"


# adbutils' own client


def test_the_python_client_works_too(device: FakeDevice, random_file: Path, tmp_path: Path) -> None:
    client = adbutils.AdbClient(device.server_host, device.server_port).device(device.serial)
    result = client.shell2("echo out; echo err >&2; exit 5", v2=True)
    assert (result.returncode, result.stdout, result.stderr) == (5, "out\n", "err\n")
    data = random_file.read_bytes()[: 2 * MEBIBYTE]
    assert client.sync.push(data, f"{TMP}/x.bin") == len(data)
    assert client.sync.stat(f"{TMP}/x.bin").size == len(data)
    client.sync.pull(f"{TMP}/x.bin", tmp_path / "back.bin")
    assert digest((tmp_path / "back.bin").read_bytes()) == digest(data)
    assert [entry.path for entry in client.sync.list(TMP)] == ["x.bin"]


def test_the_python_client_reads_the_features(device: FakeDevice) -> None:
    client = adbutils.AdbClient(device.server_host, device.server_port).device(device.serial)
    assert "shell_v2" in client.get_features()
    with device.faulty(no_shell_v2=True):
        assert "shell_v2" not in client.get_features()


# Faults of the connection


def test_unauthorized(device: FakeDevice) -> None:
    with device.faulty(unauthorized=True):
        assert f"{device.serial}\tunauthorized" in device.adb("devices").stdout.decode()
        code, _, words = shell(device, "true")
        assert code == 1 and "device unauthorized." in words
    assert shell(device, "true")[0] == 0


def test_offline(device: FakeDevice) -> None:
    with device.faulty(offline=True):
        assert f"{device.serial}\toffline" in device.adb("devices").stdout.decode()
        code, _, words = shell(device, "true")
        assert code == 1 and "device offline" in words
    assert shell(device, "true")[0] == 0


def test_a_device_without_shell_v2_tells_no_exit_code(device: FakeDevice, tmp_path: Path) -> None:
    with device.faulty(no_shell_v2=True):
        assert shell(device, "echo out; echo err >&2; exit 7") == (0, "out\r\nerr\r\n", "")
        assert device.adb("exec-out", "printf 'a\\nb'").stdout == b"a\nb"
        (tmp_path / "x").write_bytes(b"old protocol")
        assert device.adb("push", tmp_path / "x", f"{TMP}/x").returncode == 0
        assert device.adb("pull", f"{TMP}/x", tmp_path / "y").returncode == 0
        assert (tmp_path / "y").read_bytes() == b"old protocol"


def said(done: subprocess.CompletedProcess[bytes]) -> bytes:
    """Return both outputs: version 29 tells of a push's failure on standard output."""
    return done.stdout + done.stderr


def lost(device: FakeDevice) -> int:
    """Return the exit code of a command whose device was lost: version 29 does not tell."""
    return 0 if b"Version 29" in device.adb("version").stdout else 255


def test_a_push_loses_the_device(device: FakeDevice, random_file: Path) -> None:
    with device.faulty(drop_after_push_bytes=3 * MEBIBYTE):
        done = device.adb("push", random_file, f"{TMP}/x.bin")
        assert done.returncode == 1 and b"adb: error: failed to" in said(done)
        assert wait_until(lambda: device.files() == [])
        small = Path(__file__)
        assert wait_until(lambda: device.adb("push", small, f"{TMP}/small").returncode == 0), "it came back"


def test_a_push_stalls(device: FakeDevice, random_file: Path) -> None:
    with device.faulty(stall_after_push_bytes=3 * MEBIBYTE):
        with pytest.raises(subprocess.TimeoutExpired):
            device.adb("push", random_file, f"{TMP}/x.bin", timeout=0.5)
        assert shell(device, "echo works") == (0, "works\n", "")
    assert wait_until(lambda: device.files() == [])


@pytest.mark.parametrize(("count", "expected"), [(0, ""), (6, "first\n"), (9, "first\nsec")])
def test_a_command_loses_the_device(device: FakeDevice, count: int, expected: str) -> None:
    with device.faulty(drop_on_command="sleep 6[0-9]0", drop_after_output_bytes=count):
        assert shell(device, "echo other; exit 3") == (3, "other\n", "")
        code, out, _ = shell(device, "echo first; echo second; sleep 600")
        assert (code, out) == (lost(device), expected)
        assert wait_until(lambda: device.processes() == [])


def test_a_lost_device_may_stay_away(device: FakeDevice) -> None:
    with device.faulty(drop_on_command="lose me", stays_away=True):
        shell(device, "echo lose me")
        time.sleep(0.5)  # the server would have connected again by now
        code, _, words = shell(device, "true")
        assert code == 1 and "device offline" in words
    assert shell(device, "echo back")[1] == "back\n"


def test_no_space(device: FakeDevice, random_file: Path) -> None:
    with device.faulty(no_space=True):
        done = device.adb("push", random_file, f"{TMP}/x.bin")
        assert done.returncode == 1 and b"No space left on device" in said(done)
        assert device.files() == []
        assert shell(device, f"df {TMP} | tail -1 | awk '{{print $4}}'")[1] == "12\n"


def test_thermal_states_come_in_turn(device: FakeDevice) -> None:
    def read() -> list[str]:
        return re.findall(r"Thermal Status: (\d)", shell(device, "dumpsys thermalservice")[1])

    with device.faulty(thermal=(0, 3, 1)):
        assert [read() for _ in range(4)] == [["0"], ["3"], ["1"], ["1"]]
    with device.faulty(thermal=(None,)):
        assert shell(device, "dumpsys thermalservice") == (0, "Can't find service: thermalservice\n", "")
