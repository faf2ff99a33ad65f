"""Benches of phones in states that were seen in the field: what comes out, and with which words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile, which

import pytest

from mobilekit.bench.bench import ON_DEVICE
from mobilekit.store.files import sha256_of
from tests.bench_cli import Bench
from tests.fake_device import FakeDevice, fake_benchmark_model

WORDS = ("a.tflite", "--rounds", "2", "--json")
CPU = "sys/devices/system/cpu"
LINKER = "WARNING: linker: {0}: unused DT entry: type 0x6ffffffe arg 0x2100 (not found)"


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    """A device of each test's own, as they change it."""
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


def program(fake: FakeDevice, name: str, text: str) -> None:
    path = fake.root / "system/bin" / name
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.bench.binary.download", lambda *words: pytest.fail("another tool was taken"))


@pytest.mark.usefixtures("no_download")
def test_a_tool_that_lost_its_x_bit_is_not_passed_over(bench: Bench) -> None:
    tool = bench.fake.paths.to_host(ON_DEVICE)
    copyfile(fake_benchmark_model(), tool)
    tool.chmod(0o644)
    said = bench.run("bench", "--device", "adb", *WORDS)
    assert said.code == 3
    assert f"error: {ON_DEVICE} is on the device, and may not be executed." in said.err
    assert f"`adb shell chmod 755 {ON_DEVICE}`" in said.err
    tool.chmod(0o755)
    said = bench.run("bench", "--device", "adb", *WORDS)
    assert said.code == 0 and said.json["engine"]["source"].endswith(ON_DEVICE)


@contextmanager
def cores_off(fake: FakeDevice, first: int) -> Iterator[None]:
    """Switch cores off as the kernel shows it: they lose their cpufreq."""
    for index in range(first, 8):
        (fake.root / CPU / f"cpu{index}/cpufreq").rename(fake.root / CPU / f"cpu{index}/off")
    (fake.root / CPU / "online").write_text(f"0-{first - 1}\n")
    yield


def test_big_cores_that_are_off(bench: Bench) -> None:
    with cores_off(bench.fake, 4):
        said = bench(*WORDS, "--cpus", "big")
        assert said.code == 2 and "cores 4-7 are off" in said.err
        assert "Give a mask of cores that are on: --cpus" in said.err
        said = bench(*WORDS, "--cpus", "1f")
        assert said.code == 0
        assert any("cores 4 of the mask 1f" in note for note in said.json["notes"])


def test_more_threads_than_fast_cores(bench: Bench) -> None:
    said = bench(*WORDS, "--cpus", "big", "--threads", "4")
    assert said.json["settings"]["cpu_mask"] == "f0"
    assert said.json["notes"] == []
    said = bench(*WORDS, "--cpus", "80", "--threads", "4")
    assert said.json["notes"] == ["4 threads shared 1 core: fewer threads may be quicker."]


@pytest.mark.parametrize("why", ["Invalid argument", "Operation not permitted"])
@pytest.mark.parametrize("no_shell_v2", [False, True])
def test_taskset_that_refuses(bench: Bench, why: str, no_shell_v2: bool) -> None:
    program(bench.fake, "taskset", f'#!/bin/sh\necho "taskset: failed to set pid $$\'s affinity: {why}" >&2; exit 1\n')
    with bench.fake.faulty(no_shell_v2=no_shell_v2):
        said = bench(*WORDS, "--cpus", "f0")
    assert said.code == 1
    assert "taskset could not pin benchmark_model" in said.json["results"][0]["why_not"]
    assert why in said.json["results"][0]["why_not"]


@pytest.mark.parametrize("to", ["", " >&2"])
@pytest.mark.parametrize("no_shell_v2", [False, True])
def test_a_linker_that_warns_of_each_program(bench: Bench, to: str, no_shell_v2: bool) -> None:
    """Android 5 to 7; the warnings come on standard error, which the old shell mixes with the output."""
    for name in ("sha256sum", "stat", "df", "date", "chmod", "mv", "getprop", "uname"):
        inner = bench.fake.root / "system/bin" / name
        text = inner.read_text().removeprefix("#!/bin/sh\n") if inner.exists() else f'exec {which(name)} "$@"\n'
        program(bench.fake, name, f"#!/bin/sh\necho '{LINKER.format(name)}'{to}\n{text}")
    tool = bench.fake.paths.to_host(ON_DEVICE)
    copyfile(fake_benchmark_model(), tool)
    tool.chmod(0o755)
    with bench.fake.faulty(no_shell_v2=no_shell_v2):
        said = bench.run("bench", "--device", "adb", *WORDS)
        again = bench(*WORDS)
    assert (said.code, said.problems) == (0, []) and (again.code, again.problems) == (0, [])
    assert said.json["device"]["model"] == "Pinecone 8"
    assert said.json["engine"]["sha256"] == sha256_of(tool)


def linux_board(fake: FakeDevice) -> None:
    for name in ("getprop", "dumpsys", "cmd"):
        (fake.root / "system/bin" / name).unlink()


def test_a_board_with_adb_and_no_android(bench: Bench, tmp_path: Path) -> None:
    linux_board(bench.fake)
    said = bench(*WORDS)
    assert said.code == 0, said.err
    device = said.json["device"]
    assert (device["abi"], device["os"]) == ("arm64-v8a", "Linux 6.1.43-android14-11")
    assert said.json["rounds"][0]["before"]["thermal_status"] is None
    tool = tmp_path / "tool"
    tool.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x28\x00" + bytes(44))
    said = bench.run("bench", "--device", "adb", "--benchmark-binary", tool, *WORDS)
    assert "is for" not in said.err, "an arm64 board runs 32-bit programs"


def test_a_board_that_does_not_say_what_it_is(bench: Bench, tmp_path: Path) -> None:
    linux_board(bench.fake)
    program(bench.fake, "uname", "#!/bin/sh\nexit 1\n")
    assert bench(*WORDS).code == 0, "any tool may be tried"
    said = bench.run("bench", "--device", "adb", *WORDS)
    assert said.code == 3 and "does not say which ABI it has" in said.err and "--benchmark-binary" in said.err


def test_a_status_that_nothing_measures_is_none(bench: Bench) -> None:
    text = (bench.fake.root / "system/bin/dumpsys").read_text()
    program(bench.fake, "dumpsys", text.replace("HAL Ready: true", "HAL Ready: false"))
    said = bench(*WORDS)
    assert said.code == 0 and {each["after"]["thermal_status"] for each in said.json["rounds"]} == {None}


@pytest.mark.parametrize("words", ["only position independent executables (PIE) are supported.", "program alignment"])
def test_a_linker_that_refuses(bench: Bench, tmp_path: Path, words: str) -> None:
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\necho 'error: {words}' >&2; exit 1\n")
    said = bench.run("bench", "--device", "adb", "--benchmark-binary", tool, *WORDS)
    assert said.code == 1 and f"error: {words}" in said.json["results"][0]["why_not"]
