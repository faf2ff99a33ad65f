"""The stand-in for benchmark_model: it prints what the real one does, and is as slow as a test says."""

from __future__ import annotations

import hashlib
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_device import FakeDevice, fake_benchmark_model, fake_model

PATIENCE = 10.0
TMP = "/data/local/tmp"
BENCHMARK = f"{TMP}/benchmark_model"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    """A device with the benchmark and two graphs, a.tflite and b.tflite."""
    files = tmp_path_factory.mktemp("files")
    (files / "a.tflite").write_bytes(fake_model(400_000, 1))
    (files / "b.tflite").write_bytes(fake_model(400_000, 2))
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as device:
        assert device.adb("push", fake_benchmark_model(), BENCHMARK).returncode == 0
        assert device.adb("push", files / "a.tflite", files / "b.tflite", TMP).returncode == 0
        yield device


def run_benchmark(device: FakeDevice, *flags: str, graph: str = f"{TMP}/a.tflite") -> tuple[int, str, str]:
    done = device.adb("shell", " ".join([BENCHMARK, f"--graph={graph}", *flags]))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_benchmark_prints_what_the_real_one_does(device: FakeDevice) -> None:
    code, out, words = run_benchmark(device, "--num_runs=20", "--min_secs=0", "--warmup_runs=3", "--num_threads=2")
    assert (code, words) == (0, "")
    for line in (
        "INFO: STARTING!",
        "INFO: Min num runs: [20]",
        "INFO: Min warmup runs: [3]",
        "INFO: #threads used for CPU inference: [2]",
        f"INFO: Graph: [{TMP}/a.tflite]",
        f"INFO: Loaded model {TMP}/a.tflite",
        "INFO: The input model file size (MB): 0.4",
    ):
        assert line in out.splitlines()
    warmup, measured = re.findall(r"count=(\d+) first=(\d+) curr=\d+ min=(\d+) max=(\d+) avg=([\d.e+]+) std=\d+\n", out)
    assert int(warmup[0]) >= 3 and int(measured[0]) == 20
    summary = re.search(r"Init: (\d+), First inference: (\d+), Warmup \(avg\): (.*), Inference \(avg\): (.*)\n", out)
    assert summary and summary.groups()[1:] == (warmup[1], warmup[4], measured[4])
    assert float(measured[2]) < float(measured[4]) < float(measured[3])


def test_the_benchmark_runs_at_least_so_many_seconds(device: FakeDevice) -> None:
    _, out, _ = run_benchmark(device, "--num_runs=1", "--min_secs=2")
    count, average = re.findall(r"count=(\d+) .* avg=([\d.e+]+)", out)[1]
    assert 2e6 <= int(count) * float(average) < 2e6 + 2 * float(average)


def average(device: FakeDevice, name: str) -> float:
    _, out, _ = run_benchmark(device, "--num_runs=50", graph=f"{TMP}/{name}.tflite")
    found = re.search(r"Inference \(avg\): (.*)\n", out)
    assert found
    return float(found[1])


def test_latencies_are_as_the_test_sets_them(device: FakeDevice) -> None:
    bytes_of_b = (device.root / "data/local/tmp/b.tflite").read_bytes()
    device.set_latencies({"a.tflite": 5000, hashlib.sha256(bytes_of_b).hexdigest(): 4500.5})
    slow = [average(device, "a") for _ in range(6)]
    fast = [average(device, "b") for _ in range(6)]
    assert statistics.mean(slow) == pytest.approx(5000, rel=0.01)
    assert statistics.mean(fast) == pytest.approx(4500.5, rel=0.01)
    assert len(set(slow)) == 6, "runs differ"


def test_latencies_are_the_same_each_time(device: FakeDevice) -> None:
    def three() -> list[float]:
        with device.faulty():  # forgets how often the benchmark ran
            return [average(device, "a") for _ in range(3)]

    assert three() == three()


def test_percentiles_of_newer_versions(device: FakeDevice) -> None:
    with device.faulty(percentiles=True):
        _, out, _ = run_benchmark(device)
    measured = re.findall(r"min=(\d+) max=(\d+) .* p5=(\d+) median=(\d+) p95=(\d+)\n", out)[1]
    low, high, p5, median, p95 = map(int, measured)
    assert low < p5 < median < p95 < high


def test_the_profile_adds_up(device: FakeDevice) -> None:
    _, out, _ = run_benchmark(device, "--enable_op_profiling=true")
    initial, regular = out.split("INFO: Operator-wise Profiling Info for Regular Benchmark Runs:\n")
    assert "INFO: Profiling Info for Benchmark Initialization:\n" in initial
    rows = [line.split("\t")[1:] for line in regular.split("\n\n")[0].splitlines()[2:]]
    assert [int(row[7].rsplit(":", 1)[1]) for row in rows] == list(range(7))
    found = re.search(r"Inference \(avg\): (.*)\n", out)
    assert found and sum(float(row[2]) for row in rows) == pytest.approx(float(found[1]) / 1000, abs=0.004)
    assert float(rows[-1][4].rstrip("%")) == 100


def test_the_profile_as_csv(device: FakeDevice) -> None:
    _, out, _ = run_benchmark(device, "--enable_op_profiling=true", f"--profiling_output_csv_file={TMP}/p.csv")
    assert "Run Order" not in out
    regular = (device.root / "data/local/tmp/p.csv").read_text().split("Regular Benchmark Runs:\n")[1]
    rows = [line.rsplit(", ", 7) for line in regular.split("Top by")[0].splitlines()[2:] if "%" in line]
    assert sum(float(row[3].rstrip("%")) for row in rows) == 100
    assert rows[4][0] == "CONCATENATION" and rows[4][7] == "[net/concat\t axis 3]:4"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, f"ERROR: Could not open '{TMP}/x.tflite'.\nERROR: The model allocation is null/empty\n"),
        (b"not a model", "ERROR: The model is not a valid Flatbuffer buffer\n"),
    ],
)
def test_the_benchmark_refuses_what_is_no_graph(
    device: FakeDevice, tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "x.tflite").write_bytes(content)
        device.adb("push", tmp_path / "x.tflite", TMP)
    code, out, found = run_benchmark(device, graph=f"{TMP}/x.tflite")
    assert code == 1 and "count=" not in out
    assert found == f"{words}ERROR: Failed to load model {TMP}/x.tflite\nERROR: Benchmarking failed.\n"


def test_flags_that_the_benchmark_does_not_know(device: FakeDevice) -> None:
    code, out, _ = run_benchmark(device, "--foo=1", "--num_runs=3")
    assert code == 0 and "WARN: Unconsumed cmdline flags: --foo=1\n" in out
    with device.faulty(unconsumed_flags=True):
        code, out, _ = run_benchmark(device, "--num_threads=2", "--num_runs=3")
    assert code == 0 and "WARN: Unconsumed cmdline flags: --num_threads=2 --num_runs=3\n" in out
    code, _, words = run_benchmark(device, "--num_runs=abc")
    assert code == 1 and words.startswith("ERROR: Failed to parse flag 'num_runs' against argv '--num_runs=abc'\n")


def test_the_benchmark_goes_wrong(device: FakeDevice) -> None:
    with device.faulty(kill_process=True):
        code, out, _ = run_benchmark(device)
        assert code == 128 + signal.SIGKILL and "Running benchmark" in out and "count=" not in out
    with device.faulty(truncated_output=True):
        code, out, _ = run_benchmark(device)
        assert code == 0 and "Running benchmark" in out and "count=" not in out
    with device.faulty(garbage_output=True):
        done = device.adb("shell", BENCHMARK)
        assert done.returncode == 0 and len(done.stdout) == 3000
    with device.faulty(wrong_abi=True):
        code, _, words = run_benchmark(device)
        assert code == 126 and words == f"/system/bin/sh: {BENCHMARK}: Exec format error\n"
    with device.faulty(silent_fallback=True):
        code, out, _ = run_benchmark(device, "--use_gpu=true")
        assert code == 0 and "count=" in out
        assert "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate." in out


def test_the_benchmark_hangs(device: FakeDevice) -> None:
    with device.faulty(hang=True), pytest.raises(subprocess.TimeoutExpired):
        device.adb("shell", f"{BENCHMARK} --graph={TMP}/a.tflite", timeout=0.5)
    deadline = time.monotonic() + PATIENCE
    while device.processes() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert device.processes() == []
