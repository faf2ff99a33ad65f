"""`mobilekit bench --device adb` on devices that are well: what it asks of them, and what its figures say."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.kinds import read_ops
from mobilekit.store.bundle import MODULES
from mobilekit.store.files import sha256_of
from tests.bench.devices.test_faults import PATIENCE, STORE, is_clean, wait_until
from tests.bench_cli import Bench, Said
from tests.cli.test_bench_adb_faults import COMMAND, INTERRUPTED
from tests.command_line import heed_interrupts
from tests.conftest import ROOT
from tests.fake_device import FakeDevice, fake_benchmark_model

ONE = ("a.tflite", "--rounds", "1", "--json")
BOTH = ("a.tflite", "b.tflite", "--json")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


@pytest.fixture(scope="module")
def second(fake: FakeDevice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    """Another device at the same adb server, unplugged but where a test plugs it in."""
    with FakeDevice(tmp_path_factory.mktemp("second") / "root", beside=fake) as second:
        second.adb("disconnect", second.serial)
        yield second


@pytest.fixture
def plugged(second: FakeDevice) -> Iterator[FakeDevice]:
    second.reset()
    second.reconnect()
    yield second
    second.adb("disconnect", second.serial)


@pytest.fixture
def bench(
    fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    bench = Bench(fake, tmp_path, monkeypatch, capsys)
    yield bench
    assert is_clean(fake) and bench.left_here() == []


def good(said: Said) -> Any:
    """Return the JSON of a bench that ended well."""
    assert said.code == 0 and said.problems == [], said
    return said.json


def take(bench: Bench, **microseconds: float) -> None:
    """Say how long the models take."""
    bench.fake.set_latencies({sha256_of(getattr(bench, name)): value for name, value in microseconds.items()})


def runs_of(fake: FakeDevice) -> list[list[str]]:
    """Return the words of each command that ran the benchmark."""
    inner = [re.search(r"exec (.*) \) </dev/null", command) for command in fake.commands]
    return [shlex.split(match[1]) for match in inner if match and "--graph=" in match[1]]


def transfers(fake: FakeDevice) -> int:
    return sum("mv -f" in command for command in fake.commands)


# Figures


def test_accepted_results(bench: Bench) -> None:
    take(bench, a=4000, b=2000)
    content = good(bench(*BOTH, "--rounds", "4", "--threads", "2", "--runs", "10"))
    assert content["device"]["model"] == "Pinecone 8" and not content["device"]["emulated"]
    assert content["engine"]["name"] == "benchmark_model"
    assert content["engine"]["sha256"] == sha256_of(fake_benchmark_model())
    for result, mean in zip(content["results"], (4.0, 2.0), strict=True):
        assert result["accepted"] and result["why_not"] is None
        assert result["threads"] == 2 and result["rounds"] == 4 and result["statistic"] == "mean"
        assert result["latency_ms"]["median"] == pytest.approx(mean / 2**0.7, rel=0.03)
        assert result["raw_ms"] == [each["runs"][result["file"]]["latency_ms"] for each in content["rounds"]]
        assert result["memory_mb"] == pytest.approx(5.25 + result["size_mb"], abs=0.001)
    commands = runs_of(bench.fake)
    assert len(commands) == 8
    for words in commands:
        assert words[0] == f"{STORE}/{sha256_of(fake_benchmark_model())}-benchmark_model.sh"
        assert words[2:] == [
            "--num_threads=2",
            "--num_runs=10",
            "--warmup_runs=3",
            "--min_secs=0",
            "--warmup_min_secs=0",
            "--max_secs=5",
        ]
    order = [words[1].rpartition("-")[2] for words in commands]
    pairs = [tuple(order[place : place + 2]) for place in range(0, 8, 2)]
    assert {frozenset(pair) for pair in pairs} == {frozenset({"a.tflite", "b.tflite"})}
    assert pairs.count(("a.tflite", "b.tflite")) == 2, "each comes first as often"


def test_the_median_of_newer_tools_is_taken(bench: Bench) -> None:
    with bench.fake.faulty(percentiles=True):
        [result] = good(bench(*ONE))["results"]
    assert result["statistic"] == "median"


@pytest.mark.parametrize(("b", "verdict"), [(900, "faster"), (1100, "slower"), (1000, "inconclusive")])
def test_verdicts(bench: Bench, b: float, verdict: str) -> None:
    take(bench, a=1000, b=b)
    [comparison] = good(bench(*BOTH, "--rounds", "6"))["comparisons"]
    assert (comparison["file"], comparison["against"]) == ("b.tflite", "a.tflite")
    assert comparison["verdict"] == verdict
    assert comparison["low"] < comparison["ratio"] < comparison["high"]
    assert comparison["ratio"] == pytest.approx(b / 1000, abs=0.02)


def test_what_is_shown(bench: Bench) -> None:
    take(bench, a=1000, b=800)
    said = bench("a.tflite", "b.tflite", "--rounds", "6")
    assert said.code == 0
    assert (
        f"adb:{bench.fake.serial}: Pinecone 8, arm64-v8a, Android 14; TensorFlow Lite's benchmark_model, SHA-256 "
        in said.out
    )
    assert re.search(r"b\.tflite +a\.tflite +0\.\d{3} +0\.\d{3} \.\. 0\.\d{3} +faster", said.out)


# What is asked of the device


@pytest.mark.parametrize(("cpus", "mask"), [("big", "80"), ("F0", "f0"), (None, None)])
def test_cores(bench: Bench, cpus: str | None, mask: str | None) -> None:
    content = good(bench(*ONE, *(["--cpus", cpus] if cpus else [])))
    assert content["settings"]["cpu_mask"] == mask
    [words] = runs_of(bench.fake)
    assert words[:2] == ["taskset", mask] if mask else words[0] != "taskset"


NO_UTF8 = os.fsdecode(b"\xff")
AWKWARD = [
    "two words.tflite",
    'it\'s "so".tflite',
    "$(touch owned).tflite",
    "`touch owned`;&|.tflite",
    "--graph=x.tflite",
    "größe\n2.tflite",
    f"{NO_UTF8}.tflite",
]


def test_awkward_file_names(bench: Bench) -> None:
    paths = [bench.model(name, seed) for seed, name in enumerate(AWKWARD)]
    content = good(bench("--rounds", "1", "--json", *paths))
    shown = [path.name.replace(NO_UTF8, "?") for path in paths]
    assert [result["file"] for result in content["results"]] == shown
    assert all(result["accepted"] for result in content["results"])
    assert not [path for path in (*bench.folder.rglob("*"), *bench.fake.root.rglob("*")) if path.name == "owned"]
    graphs = {words[1] for words in runs_of(bench.fake)}
    assert len(graphs) == len(paths)
    assert all(re.fullmatch(rf"--graph={STORE}/[0-9a-f]{{64}}-[\w.-]+", graph) for graph in graphs)


def test_what_is_on_the_device_is_not_sent_again(bench: Bench) -> None:
    bench.model("a.tflite", 7, 25_000_000)
    good(bench(*ONE))
    assert transfers(bench.fake) == 2, "the program and the model"
    good(bench(*ONE))
    assert transfers(bench.fake) == 2
    bench.model("a.tflite", 8, 25_000_000)
    good(bench(*ONE))
    assert transfers(bench.fake) == 3, "another content of the same name and size"


def test_a_program_that_is_on_the_device(bench: Bench) -> None:
    place = "/data/local/tmp/benchmark_model"
    assert bench.fake.adb("push", fake_benchmark_model(), place).returncode == 0
    try:
        content = good(bench.run("bench", *ONE, "--device", "adb"))
        assert content["engine"]["source"] == f"adb:{bench.fake.serial}:{place}"
        assert content["engine"]["sha256"] == sha256_of(fake_benchmark_model())
        assert runs_of(bench.fake)[0][0] == place
    finally:
        bench.fake.paths.to_host(place).unlink()


# Which adb server, and which devices


def test_another_adb_server(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    name = f"adb:{bench.fake.serial}"
    assert good(bench(*ONE, "--adb-server", bench.fake.server))["device"]["name"] == name
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:{bench.fake.server}")
    assert good(bench(*ONE))["device"]["name"] == name
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:{bench.fake.server_port}")
    assert good(bench(*ONE, device=name))["device"]["name"] == name


def test_all_devices(bench: Bench, plugged: FakeDevice) -> None:
    take(bench, a=1000, b=1000)
    plugged.set_latencies({sha256_of(bench.a): 3000, sha256_of(bench.b): 1500})
    content = good(bench(*BOTH, "--rounds", "6", device="adb:all"))
    assert content["failed"] == []
    by_name = {each["device"]["name"]: each for each in content["devices"]}
    assert set(by_name) == {f"adb:{bench.fake.serial}", f"adb:{plugged.serial}"}
    [comparison] = by_name[f"adb:{plugged.serial}"]["comparisons"]
    assert comparison["verdict"] == "faster" and comparison["ratio"] == pytest.approx(0.5, abs=0.02)
    shown = bench("a.tflite", "--rounds", "1", device="adb:all")
    heads = [line.split() for line in shown.out.splitlines() if line.startswith("file ")]
    assert heads[-1] == ["file", *by_name], "a column for each device"
    assert is_clean(plugged)


def test_devices_run_at_the_same_time(bench: Bench, plugged: FakeDevice) -> None:
    """The program waits until it runs twice, so one device after the other would not do."""
    meeting = bench.folder / "meeting"
    meeting.mkdir()
    wait = f"touch {meeting}/$$; i=0; until [ $(ls {meeting} | wc -l) -ge 2 ]; do i=$((i+1)); [ $i -lt 200 ] || exit 9"
    bench.program = bench.folder / "meet.sh"
    bench.program.write_text(fake_benchmark_model().read_text().replace("\n", f"\n{wait}; sleep 0.05; done\n", 1))
    assert len(good(bench(*ONE, device="adb:all"))["devices"]) == 2


def test_a_device_that_fails_does_not_stop_the_others(bench: Bench, plugged: FakeDevice) -> None:
    with plugged.faulty(offline=True):
        said = bench(*ONE, device="adb:all")
    assert said.code == 0 and f"warning: {plugged.serial} is offline" in said.err
    assert [each["device"]["name"] for each in said.json["devices"]] == [f"adb:{bench.fake.serial}"]
    with plugged.faulty(drop_on_command="--num_runs"):
        said = bench(*ONE, device="adb:all")
    assert said.code == 3 and f"warning: {plugged.serial} was lost" in said.err
    assert [each["device"]["name"] for each in said.json["devices"]] == [f"adb:{bench.fake.serial}"]
    assert said.json["failed"] == [f"{plugged.serial} was lost in the middle of a command."]
    with plugged.faulty(thermal=(3,)):
        said = bench(*ONE, device="adb:all")
        shown = bench("a.tflite", "--rounds", "1", device="adb:all")
    accepted = {each["device"]["name"]: each["results"][0]["accepted"] for each in said.json["devices"]}
    assert said.code == 1 and accepted == {f"adb:{bench.fake.serial}": True, f"adb:{plugged.serial}": False}
    assert "refused" in shown.out.splitlines()[-1], "in the table of all devices"
    assert is_clean(plugged)


def test_ctrl_c_ends_the_runs_on_all_devices(
    bench: Bench, plugged: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the main thread hears it, while the others wait for programs that would not end."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with bench.fake.faulty(hang=True, orphans=True), plugged.faulty(hang=True, orphans=True):
        process = subprocess.Popen(
            [*COMMAND, bench.program, *ONE, "--device", "adb:all"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_interrupts,
        )
        assert wait_until(lambda: all((each.state / "benchmarks").exists() for each in (bench.fake, plugged)))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (INTERRUPTED, ""), err
    assert err.splitlines()[-1] == "error: interrupted; nothing was left behind."
    assert is_clean(plugged)


# What a bench is held to


@pytest.mark.parametrize(
    ("b", "verdict", "code"), [(1200, "regressed", 1), (800, "improved", 0), (1000, "same inconclusive", 0)]
)
def test_a_baseline(bench: Bench, b: float, verdict: str, code: int) -> None:
    take(bench, a=1000)
    good(bench("a.tflite", "--rounds", "6", "--json", "--save-baseline", "base.json"))
    take(bench, a=b)
    said = bench("a.tflite", "--rounds", "6", "--json", "--baseline", "base.json")
    [change] = said.json["baseline"]
    assert change["verdict"] in verdict.split() and said.code == code
    assert change["ratio"] == pytest.approx(b / 1000, abs=0.02)


def test_a_baseline_of_one_device(bench: Bench, plugged: FakeDevice) -> None:
    said = bench(*ONE, "--save-baseline", "base.json", device="adb:all")
    assert said.code == 2 and "A baseline is of one device" in said.err
    assert not (bench.folder / "base.json").exists()
    assert runs_of(bench.fake) == runs_of(plugged) == [], "it is said before the first run"


@pytest.mark.parametrize(("limit", "verdict", "code"), [(0.9, "fail", 1), (1.1, "pass", 0)])
def test_budgets(bench: Bench, limit: float, verdict: str, code: int) -> None:
    take(bench, a=1000)
    budgets = bench.folder / "budgets.yaml"
    budgets.write_text(
        f"budgets:\n- {{device: 'Pinecone*', latency_ms: {limit}}}\n- {{device: Other, latency_ms: 0.1}}\n"
        f"- {{file: a.tflite, memory_mb: 6, size_mb: 0.3}}\n"
    )
    files = ("--junit", "junit.xml", "--markdown", "summary.md")
    said = bench("a.tflite", "--rounds", "6", "--json", "--budgets", budgets, *files)
    assert said.code == code, said
    verdicts = {each["limited"]: each["verdict"] for each in said.json["budgets"]}
    assert verdicts == {"latency_ms": verdict, "memory_mb": "pass", "size_mb": "pass"}
    assert ("<failure" in (bench.folder / "junit.xml").read_text()) == (verdict == "fail")
    assert "a.tflite" in (bench.folder / "summary.md").read_text()


# Where the time goes


def profiler_of(bundle: Path, precision: str) -> tuple[str, dict[str, float]]:
    """Return a program whose profile has the file's own ops, and the share of the time that each module gets."""
    alignment = json.loads((bundle / MODULES).read_text())
    ops = read_ops(bundle / f"model.{precision}.tflite", None)
    whole = sum(op.index + 1 for op in ops)
    shares: dict[str, float] = defaultdict(float)
    for op in ops:
        module = alignment["modules"].get(op.tensor, "(unknown)")
        shares[".".join(module.split(".")[:2])] += (op.index + 1) / whole
    rows = "".join(f'    node("{op.op}", {100 * (op.index + 1) / whole}, "{op.tensor}")\n' for op in ops)
    text = fake_benchmark_model().read_text()
    own = re.findall(r'    node\(".*"\)\n', text)
    assert len(own) == 7
    return text.replace("".join(own), rows), shares


def test_a_profile_by_module(bench: Bench, digits_bundle: Path) -> None:
    text, shares = profiler_of(digits_bundle, "float32")
    bench.program = bench.folder / "profiler.sh"
    bench.program.write_text(text)
    file = digits_bundle / "model.float32.tflite"
    bench.fake.set_latencies({sha256_of(file): 100_000})
    content = good(bench(file, "--rounds", "1", "--json", "--profile", "--plot", "bench.png"))
    [profile] = content["profiles"].values()
    total = profile["total_ms"]
    assert total == pytest.approx(100, rel=0.03) and profile["unplaced_ms"] == 0
    assert set(profile["by_module"]) == set(shares)
    for module, share in shares.items():
        assert profile["by_module"][module] / total == pytest.approx(share, abs=1e-4), module
    assert list(profile["by_module"].values()) == sorted(profile["by_module"].values(), reverse=True)
    assert sum(profile["by_kind"].values()) == pytest.approx(total)
    assert {"depthwise", "pointwise", "DFC", "gate"} <= set(profile["by_kind"])
    assert (bench.folder / "bench.png").read_bytes().startswith(b"\x89PNG")
    # the run that is profiled is another one: a profiler slows it down
    assert [("--enable_op_profiling=true" in words) for words in runs_of(bench.fake)] == [False, True]
