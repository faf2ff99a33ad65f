"""The emulated device: its protocol against a worker on this machine, and its set-up against tools that are scripts."""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.bench.devices import emulator_setup
from mobilekit.bench.devices.emulated import Emulator
from mobilekit.bench.devices.emulator_setup import (
    COMMAND,
    command,
    counting_command,
    find_count_problem,
    find_problem,
    folder,
    set_up,
    wanted_versions,
)
from mobilekit.bench.devices.select import open_device
from mobilekit.bench.instructions import plugin_build
from mobilekit.bench.instructions.cores import CORES, core_named
from mobilekit.errors import DeviceError, ToolError, UsageError
from mobilekit.parity.ledger.device_limits import device_bounds
from mobilekit.parity.ledger.ledger import measure
from mobilekit.parity.ledger.result import FormatError
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import Stage, device_stage, tflite_stage
from tests.conftest import Cli
from tests.parity.ledger.test_ledger import RANDOM, REAL, Faulty, _inputs, _larger_by, _model
from tests.tflite_by_hand import make_tflite

WORKER = [sys.executable, "-m", "mobilekit.bench.devices.emulated_worker"]
INPUTS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4) / 7}


@pytest.fixture
def doubled(tmp_path: Path) -> Path:
    path = tmp_path / "doubled.tflite"
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"]))
    return path


# The protocol.


def test_the_worker_gives_what_litert_gives(doubled: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(make_tflite([("MUL", ["x", "x"], "y")], (1, 4), ["y"]))
    with Emulator(WORKER) as emulator:
        first, second = emulator.open(doubled, {}), emulator.open(other, {})
        np.testing.assert_array_equal(first.run(INPUTS)["y"], 2 * INPUTS["x"])
        np.testing.assert_array_equal(second.run(INPUTS)["y"], INPUTS["x"] ** 2)
        np.testing.assert_array_equal(first.run({"x": INPUTS["x"][:1]})["y"], 2 * INPUTS["x"][:1])
        process = emulator._worker._process
    assert process and process.poll() is not None, "the worker outlives its block"


def test_what_litert_refuses_there_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"rubbish")
    told = re.escape(f"On the emulated device: LiteRT cannot open {bad}: ")
    with Emulator(WORKER) as emulator, pytest.raises(ToolError, match=told):
        emulator.run(bad, {}, INPUTS)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'qemu: uncaught target signal 11' >&2; kill -SEGV $$", "by SIGSEGV: qemu: uncaught target signal 11"),
        ("exit 3", "with exit status 3: it said nothing"),
    ],
)
def test_a_worker_that_dies_is_told(script: str, told: str, doubled: Path) -> None:
    with Emulator(["/bin/sh", "-c", script]) as emulator, pytest.raises(DeviceError, match=told):
        emulator.open(doubled, {}).run(INPUTS)


def test_a_worker_that_dies_before_it_is_asked_is_told(doubled: Path) -> None:
    with Emulator(["/bin/sh", "-c", "echo 'no such library' >&2; exit 3"]) as emulator:
        process = emulator._worker._process
        assert process
        process.wait()
        with pytest.raises(DeviceError, match="exit status 3: no such library"):
            emulator.open(doubled, {}).run(INPUTS)


def test_other_kernels_are_not_measured(doubled: Path) -> None:
    """XNNPACK stays out without a word where it does not know the processor."""
    serve = """
import numpy as np
from mobilekit.store.worker_loop import serve
def run(request):
    np.savez(request["outputs"], y=np.zeros((3, 4), np.float32))
    return {"delegates": 0}
serve(run)
"""
    assert LiteRTRuntime(doubled).partitions() == 1
    with Emulator([sys.executable, "-c", serve]) as emulator, pytest.raises(DeviceError, match="XNNPACK does not run"):
        emulator.open(doubled, {}).run(INPUTS)


def test_the_words_of_device() -> None:
    with open_device(None) as opener:
        assert opener is None
    with pytest.raises(UsageError, match="no device 'emulate'") as caught, open_device("emulate"):
        pass
    assert caught.value.hint == "Did you mean emulated?"


# Limits.

NOISE = FormatError(1e-6, 2e-7, 1.0, 1e-3, 0.02, 0.05, 0.05)


def test_float_files_are_held_to_the_noise_of_float32() -> None:
    for stage in ("device-float32", "device-float16"):
        (bound,) = device_bounds(Stage(stage), NOISE)
        assert (bound.metric, bound.limit) == ("max_abs", 8e-6)


@pytest.mark.parametrize(("stage", "limit"), [("device-dynamic", 0.02), ("device-int8", 0.05)])
def test_files_of_8_bits_are_held_to_the_noise_of_8_bits(stage: str, limit: float) -> None:
    (bound,) = device_bounds(Stage(stage), NOISE)
    assert (bound.metric, bound.limit) == ("relative_l2", limit)


def test_one_value_in_twelve_on_the_other_step_is_as_much_as_rounding_itself() -> None:
    """The derivation of the limit, in numbers."""
    random = np.random.default_rng(0)
    values = random.uniform(-100, 100, 120_000)
    rounded = np.round(values)
    moved = rounded + random.choice([-1, 1], len(values)) * (random.random(len(values)) < 1 / 12)
    assert np.linalg.norm(moved - rounded) == pytest.approx(np.linalg.norm(rounded - values), rel=0.02)


def test_a_device_is_held_against_its_file_here_and_the_reference() -> None:
    """A fault on the device alone: its stage fails, and the file here takes no blame."""
    model, good = _model(), Faulty()
    evaluation = Evaluation("made up", {"input": _inputs(REAL, 1)})
    faults = (("float32", _larger_by(0.1)), ("int8", _larger_by(0.5)), ("float32", Faulty()))
    for number, (precision, fault) in enumerate(faults):
        here, there = tflite_stage(precision), device_stage(precision)
        runtimes = {Stage.TFLITE_FLOAT32: good, here: good, there: fault}
        openers = {stage: lambda runtime=runtime: runtime for stage, runtime in runtimes.items()}
        ledger = measure(model, model, openers, Recipe(), evaluation, {"input": _inputs(RANDOM, 2)})
        rows = [(row.against, row.verdict) for row in ledger.rows if row.stage == there]
        expected = "pass" if number == 2 else "fail"
        assert rows == [("reference", expected), (here, expected)]
        assert {row.verdict for row in ledger.rows if row.stage != there} == {"pass"}


# The set-up.


LITERT = "2.1.0"
"""What this environment is made to have: another version than that whose instructions are counted."""
WHEELS = ("ai-edge-litert", "numpy", "flatbuffers")
APT = """
for word; do
    case $word in
        APT::Architecture=*) architecture=${word#*=} ;;
        download) download=yes ;;
        lib* | python* | zlib1g | qemu-user) [ -z "$download" ] || : >"${word}_1_$architecture.deb" ;;
    esac
done
"""
QEMU = 'case $* in *--version) echo "qemu-aarch64 version 7.2.22 (Debian)" ;; *) echo aarch64 ;; esac'
DPKG = """
mkdir -p "$3/usr/bin" "$3/usr/lib/any" && ln -sf /nowhere "$3/usr/bin/dangling" && : >"$3/usr/bin/made"
: >"$3/usr/lib/any/libany.so.1"
: >"$3/usr/bin/python3.11"
cp "$(dirname "$0")/qemu" "$3/usr/bin/qemu-aarch64"
"""
COMPILER = 'while [ $# -gt 2 ]; do [ "$1" = -o ] && : >"$2"; shift; done'


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with apt-get, dpkg-deb, a compiler, a qemu that the packages hold, and a Python with pip, all scripts."""
    tools = tmp_path / "tools"
    tools.mkdir()
    script(tools / "apt-get", APT)
    script(tools / "dpkg-deb", DPKG)
    script(tools / "qemu", QEMU)
    script(tools / "cc", COMPILER)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("MOBILEKIT_CACHE", str(tmp_path / "cache"))
    wheels = tmp_path / "cache" / "emulated" / "wheels"
    wheels.mkdir(parents=True)
    monkeypatch.setattr(emulator_setup.metadata, "version", lambda _name: LITERT)
    versions = [(name, version) for name, version in wanted_versions().items() if name in WHEELS]
    for name, version in [*versions, ("ai-edge-litert", LITERT)]:
        with zipfile.ZipFile(wheels / f"{name.replace('-', '_')}-{version}-aarch64.whl", "w") as wheel:
            wheel.writestr(f"{name.replace('-', '_')}.py", version)
    monkeypatch.setattr(sys, "executable", str(tools / "python"))
    script(tools / "python", '[ "$2" = pip ] || exit 1')
    return tools


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_set_up_makes_all_and_says_that_it_is_ready(tools: Path) -> None:
    problem = find_problem()
    assert problem and problem.hint == f"Run `{COMMAND}` once."
    told: list[str] = []
    root = set_up(told.append)
    assert root == folder() and find_problem() is None
    written = json.loads((root / "emulated.json").read_text())
    assert written == {"versions": wanted_versions(), "qemu": "7.2.22"}
    assert (root / "usr/bin/made").exists() and (root / "opt/python/numpy.py").exists()
    assert "CPU part\t: 0xd0b" in (root / "proc/cpuinfo").read_text()
    assert (root / "sys/devices/system/cpu/possible").read_text() == "0\n"
    assert (root / "opt/qemu/lib/libany.so.1").exists() and not (root / "opt/qemu/unpacked").exists()
    assert told[-1] == "compiling and trying the plugin that counts"


def test_counts_have_one_litert_and_diff_has_this_environments(tools: Path) -> None:
    root = set_up()
    assert (root / "opt/python/ai_edge_litert.py").read_text() == emulator_setup.counted_litert() != LITERT
    assert (root / "opt/diff/ai_edge_litert.py").read_text() == LITERT
    assert "PYTHONPATH=/opt/diff:/opt/python:/own" in command(root, ["x.py"], ["/own"])
    words = counting_command(root, core_named("x1"), Path("/out"), ["x.py"], ["/own"])
    assert "PYTHONPATH=/opt/python:/own" in words


def test_each_core_sees_its_own_processor_and_the_shared_files(tools: Path) -> None:
    root = set_up()
    for core in CORES:
        prefix = root / "cores" / core.name
        assert f"CPU part\t: {core.part:#05x}\n" in (prefix / "proc/cpuinfo").read_text()
        assert (prefix / "usr/bin/made").exists() and (prefix / "opt/python/numpy.py").exists()
        words = counting_command(root, core, Path("/a,b"), ["x.py"])
        assert words[words.index("-L") + 1] == str(prefix)
        assert words[words.index("-cpu") + 1] == core.qemu_cpu
        assert words[words.index("-plugin") + 1].endswith(".so,out=/a,,b")
        assert words[:2] == ["env", "-i"], "the user's variables move the stack, and with it a count"


def test_without_a_compiler_diff_is_ready_and_counting_is_not(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_build, "find_compiler", lambda: None)
    set_up()
    problem = find_count_problem()
    assert find_problem() is None
    assert problem and problem.exit_code == 4 and "apt install gcc" in problem.hint
    monkeypatch.undo()


def test_a_plugin_of_another_mobilekit_is_not_taken(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up()
    assert find_count_problem() is None
    monkeypatch.setattr(plugin_build, "digest", lambda: "0" * 64)
    problem = find_count_problem()
    assert problem and problem.hint == f"Run `{COMMAND}` again."


@pytest.mark.parametrize("part", ["opt/qemu/qemu-aarch64", "usr/bin/python3.11", "cores/x1/usr"])
def test_a_part_that_is_gone_is_named(part: str, tools: Path) -> None:
    (set_up() / part).unlink()
    problem = find_problem()
    assert problem and problem.what.endswith(f"{part} is gone.") and problem.hint == f"Run `{COMMAND}` again."
    count_problem = find_count_problem()
    assert count_problem and count_problem.exit_code == 4


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_damaged_mark_asks_for_the_set_up(text: str, tools: Path) -> None:
    (set_up() / "emulated.json").write_text(text)
    problem = find_problem()
    assert problem and "not set up" in problem.what


@pytest.mark.parametrize(
    "mark", [{"ai-edge-litert": "2.3.0"}, {"versions": {}, "qemu": ""}, {"versions": {"numpy": "1.0"}, "qemu": "7"}]
)
def test_other_versions_ask_for_another_set_up(mark: dict[str, Any], tools: Path) -> None:
    (set_up() / "emulated.json").write_text(json.dumps(mark))
    problem = find_problem()
    assert problem and "other versions" in problem.what


@pytest.mark.parametrize(
    ("tool", "text", "what"),
    [
        ("apt-get", "echo 'E: no network' >&2; exit 100", "apt cannot read the lists of packages: E: no network"),
        ("dpkg-deb", "exit 2", "cannot be unpacked: exit status 2"),
        ("python", "echo 'ERROR: no such wheel' >&2; exit 1", "pip cannot download the wheels for aarch64: ERROR"),
        ("qemu", "kill -SEGV $$", "The ARM Python does not run under qemu"),
        ("qemu", "echo x86_64", "it runs on x86_64, not aarch64"),
        ("cc", "echo 'fatal error: stdio.h: No such file' >&2; exit 1", "plugin cannot be compiled: fatal error"),
    ],
)
def test_a_set_up_that_fails_leaves_nothing(tool: str, text: str, what: str, tools: Path) -> None:
    script(tools / tool, text)
    with pytest.raises(ToolError, match=what):
        set_up()
    assert list(folder().parent.iterdir()) == []


@pytest.mark.parametrize("tool", ["dpkg-deb", "apt-get"])
def test_a_tool_that_is_missing_is_named(tool: str, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools / tool).unlink()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(ToolError) as caught:
        set_up()
    assert "not installed" in caught.value.what and caught.value.hint


def test_the_command_redirects_to_the_arm_files(tools: Path) -> None:
    words = command(Path("/root of it"), ["x.py"], ["/own"])
    assert words[:3] == ["env", "LD_LIBRARY_PATH=/root of it/opt/qemu/lib", "/root of it/opt/qemu/qemu-aarch64"]
    assert words[words.index("-L") + 1] == "/root of it"
    assert words[-2:] == ["-S", "x.py"]


def test_diff_without_the_set_up_says_what_to_run(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("diff", digits_bundle, "--device", "emulated", XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 3
    assert "`mobilekit devices setup-emulated`" in done.stderr


def test_devices_lists_the_emulated_one(tmp_path: Path, cli: Cli) -> None:
    done = cli("devices", "--json", XDG_DATA_HOME=str(tmp_path))
    assert json.loads(done.stdout)["emulated"] == {"ready": False}


# The device itself, where this machine has it.


@pytest.mark.skipif(platform.system() != "Linux" or find_problem() is not None, reason="no emulated device is set up")
def test_arm_code_runs_and_agrees(digits_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    inputs = np.random.default_rng(0).uniform(-1, 1, (4, 1, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "few.npz", input=inputs)
    done = cli("diff", digits_bundle, "--device", "emulated", "--inputs", tmp_path / "few.npz", "--json")
    rows = json.loads(done.stdout)["stages"]
    steps = {row["stage"]: row for row in rows if row["against"].startswith("tflite-") and "device" in row["stage"]}
    assert set(steps) == {f"device-{precision}" for precision in ("float32", "float16", "dynamic", "int8")}
    assert {row["verdict"] for row in steps.values()} == {"pass"}
    assert 0 < steps["device-float32"]["max_abs"] < 1e-4  # it was other code
