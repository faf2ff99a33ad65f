"""A recorded bench is the same bench without the device: one of the fake device, and one of a real tool in data/."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pytest

from tests.bench_cli import Bench
from tests.conftest import ROOT, Cli
from tests.fake_device import FakeDevice

LAB = ROOT / "tests" / "data" / "lab_session"
WORDS = ("a.tflite", "b.tflite", "--rounds", "3", "--json")
SAME = "the same files and settings, by the same version of mobilekit"


def without_adb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead adb's clients to where no server is, and see that none is started."""
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:127.0.0.2:9")


def test_a_replay_says_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = bench(*WORDS, "--cpus", "big", "--record", "kept")
    assert recorded.code == 0, recorded.err
    bench.fake.commands.clear()
    without_adb(monkeypatch)
    replayed = bench(*WORDS, "--cpus", "big", device="replay:kept")
    assert replayed == recorded
    assert bench.fake.commands == []
    assert len(recorded.json["results"][0]["raw_ms"]) == 3


def test_what_was_refused_is_refused_again(bench: Bench) -> None:
    with bench.fake.faulty(thermal=(0, 3, 0), silent_fallback=True):
        recorded = bench(*WORDS, "--delegate", "xnnpack", "--record", "kept")
    assert recorded.code == 1 and "will not be executed" in recorded.json["results"][0]["why_not"]
    assert bench(*WORDS, "--delegate", "xnnpack", device="replay:kept") == recorded


def test_a_device_that_was_lost_is_lost_again(bench: Bench) -> None:
    with bench.fake.faulty(drop_on_command="--num_runs", drop_after_output_bytes=100, stays_away=True):
        recorded = bench(*WORDS, "--record", "kept")
    assert recorded.code == 3 and "was lost" in recorded.err
    assert bench(*WORDS, device="replay:kept") == recorded


def test_several_devices(bench: Bench, tmp_path: Path) -> None:
    with FakeDevice(tmp_path / "second", beside=bench.fake):
        recorded = bench(*WORDS, "--record", "kept", device="adb:all")
    assert recorded.code == 0 and len(recorded.json["devices"]) == 2
    replayed = bench(*WORDS, device="replay:kept")
    assert sorted(map(json.dumps, replayed.json["devices"])) == sorted(map(json.dumps, recorded.json["devices"]))


OTHERS = {
    "more rounds": ("a.tflite", "b.tflite", "--rounds", "4", "--json"),
    "fewer files": ("a.tflite", "--rounds", "3", "--json"),
    "other threads": (*WORDS, "--threads", "2"),
    "another seed": (*WORDS, "--seed", "3"),
    "other cores": (*WORDS, "--cpus", "f0"),
    "another file": WORDS,
}


def test_what_was_not_asked_then_has_no_answer(bench: Bench) -> None:
    assert bench(*WORDS, "--record", "kept").code == 0
    for what, words in OTHERS.items():
        if what == "another file":
            bench.model("b.tflite", 3)
        said = bench(*words, device="replay:kept")
        assert said.code == 3 and said.out == "", what
        place = r"error: The recording kept/\S+/conversation.jsonl (has no answer: line \d+|ends before)"
        assert re.search(place, said.err) and SAME in said.err, said.err


def test_a_recording_is_never_written_over(bench: Bench) -> None:
    assert bench(*WORDS, "--record", "kept").code == 0
    before = {path: path.read_bytes() for path in Path("kept").rglob("*") if path.is_file()}
    said = bench(*WORDS, "--record", "kept")
    assert said.code == 2 and "There is a recording at kept" in said.err and "another folder" in said.err
    assert {path: path.read_bytes() for path in Path("kept").rglob("*") if path.is_file()} == before


def test_only_adb_is_recorded(bench: Bench) -> None:
    for device in ("local", "replay:kept"):
        said = bench(*WORDS, "--record", "kept", device=device)
        assert said.code == 2 and f"--device {device} cannot be recorded" in said.err
    said = bench(*WORDS, device="replay:none")
    assert said.code == 2 and "There is no recording in none" in said.err


def test_fewer_rounds_are_the_first_of_them(bench: Bench) -> None:
    recorded = bench(*WORDS, "--record", "kept").json
    replayed = bench("a.tflite", "b.tflite", "--rounds", "2", "--json", device="replay:kept").json
    assert replayed["rounds"] == recorded["rounds"][:2]


# A session with a real benchmark_model

LAB_WORDS = ("small.tflite", "large.tflite", "--rounds", "6", "--runs", "3", "--device", "replay:recording")


def lab_figures(pattern: str) -> dict[str, list[float]]:
    """Return what the tool said in each run without a profiler, by the model's name."""
    found: dict[str, list[float]] = {"small.tflite": [], "large.tflite": []}
    [path] = LAB.glob("recording/*/conversation.jsonl")
    for line in path.read_text().splitlines()[1:]:
        exchange = json.loads(line)
        graph = re.search(r"--graph=\S+-(\w+\.tflite)", exchange["question"].get("command", ""))
        if graph and "--enable_op_profiling" not in exchange["question"]["command"]:
            found[graph[1]].append(float(re.findall(pattern, exchange["answer"]["stdout"])[-1]))
    return found


def test_the_lab_session(cli: Cli) -> None:
    """In a process of its own, where no device, no adb server and no benchmark_model is."""
    done = cli("bench", *LAB_WORDS, "--json", cwd=LAB, ADB_SERVER_SOCKET="tcp:127.0.0.2:9")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    device = content["device"]
    assert (device["model"], device["abi"], device["os"]) == ("Arm lab device", "arm64-v8a", "Android 14")
    assert device["emulated"]
    [note] = content["notes"]
    assert "latencies mean nothing" in note
    assert content["engine"]["sha256"] == "e7939e1513911dcd1b34df408b6640f204948a6405ca4e249db4bb39c5d498ea"
    assert content["engine"]["source"].endswith(":/data/local/tmp/benchmark_model")
    averages = lab_figures(r"Inference \(avg\): ([\d.e+]+)")
    memory = lab_figures(r" overall=([\d.]+)")
    for result in content["results"]:
        assert result["accepted"] and result["rounds"] == 6
        assert result["raw_ms"] == pytest.approx([us / 1000 for us in averages[result["file"]]], rel=1e-9)
        assert result["memory_mb"] == max(memory[result["file"]])
    [comparison] = content["comparisons"]
    ratios = [large / small for small, large in zip(averages["small.tflite"], averages["large.tflite"], strict=True)]
    assert comparison["verdict"] == "slower"
    assert comparison["ratio"] == pytest.approx(statistics.geometric_mean(sorted(ratios)[2:4]))
    assert (comparison["low"], comparison["high"]) == pytest.approx((min(ratios), max(ratios)))


def test_a_session_that_lost_the_device_in_round_5_ends_with_its_other_rounds(cli: Cli) -> None:
    """As recorded on a real adbd, of which the connection was cut; nothing is waited for in a replay."""
    words = [*LAB_WORDS[:-1], "replay:lost_in_round_5"]
    done = cli("bench", *words, "--json", cwd=LAB, ADB_SERVER_SOCKET="tcp:127.0.0.2:9")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    rounds = [(each["index"], each["rejected"]) for each in content["rounds"]]
    lost = "127.0.0.1:15555 was lost in the middle of a command."
    assert rounds == [(0, None), (1, None), (2, None), (3, None), (4, lost), (4, None), (5, None)]
    assert [result["rounds"] for result in content["results"]] == [6, 6]
    assert "partial" not in content


def test_the_profile_of_the_lab_session(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    without_adb(monkeypatch)
    monkeypatch.chdir(LAB)
    summary = bench.folder / "summary.md"
    said = bench.run("bench", *LAB_WORDS, "--profile", "--json", "--markdown", summary)
    assert said.code == 0, said.err
    profiles = said.json["profiles"]
    assert set(profiles) == {"small.tflite", "large.tflite"}
    for profile in profiles.values():
        assert [op["op"] for op in profile["ops"]] == [
            "PAD",
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "CONV_2D",
            "HARD_SWISH",
            "MEAN",
            "FULLY_CONNECTED",
        ]
        assert all(op["ms"] > 0 and not op["delegated"] for op in profile["ops"])
        assert profile["unplaced_ms"] == 0 and profile["partitions"] == 0
        assert profile["total_ms"] == pytest.approx(sum(op["ms"] for op in profile["ops"]))
    small, large = (profiles[f"{name}.tflite"]["by_kind"] for name in ("small", "large"))
    assert large["pointwise"] > 5 * small["pointwise"], "36 times the multiplications"
    text = summary.read_text()
    assert "latencies mean nothing" in text and "large.tflite" in text
    shown = bench.run("bench", *LAB_WORDS, "--profile").out
    assert "note: This device's instructions are translated by another machine" in shown
