"""The rounds of a bench: which count, which are repeated, and what a bench says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.devices.base import Core, Device, DeviceFacts, DeviceState, Workspace
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.bench.result import EMULATED, BenchResult
from mobilekit.bench.result import result_of as make_result
from mobilekit.bench.schedule import order_of_round
from mobilekit.bench.session import HOTTEST_BATTERY, Outcome, Plan, out_of_bounds, run_rounds
from mobilekit.errors import DeviceError
from tests.properties import times

A, B, C = Path("a.tflite"), Path("b.tflite"), Path("c.tflite")
FACTS = DeviceFacts("adb:1", "Phone 5", "arm64-v8a", "sm0000", "Android 14", None, (Core(0, 1_800_000),), None, False)
COOL = DeviceState(0, 80, 30.0, (1_000_000,))
HOT = replace(COOL, thermal_status=2)
WARM = replace(COOL, battery_celsius=HOTTEST_BATTERY + 0.1)
MUTE = DeviceState(None, None, None, ())


class ScriptedDevice(Device):
    """Gives its states one after the other, the last for ever."""

    facts = FACTS

    def __init__(self, *states: DeviceState) -> None:
        self.states = list(states)
        self.read = 0

    def read_state(self) -> DeviceState:
        self.read += 1
        return self.states[min(self.read, len(self.states)) - 1]

    @contextmanager
    def open_workspace(self) -> Iterator[Workspace]:
        raise NotImplementedError
        yield


class ScriptedEngine(Engine):
    """Runs what a function of the file and of how often it ran says, and notes the order."""

    name = "script"

    def __init__(self, act: Callable[[Path, int], Run]) -> None:
        self.act = act
        self.ran: list[Path] = []

    def describe(self) -> EngineFacts:
        return EngineFacts(self.name, "1", None)

    def run(self, file: Path, settings: RunSettings) -> Run:
        self.ran.append(file)
        return self.act(file, self.ran.count(file))


def at_once(*files: Path, rounds: int = 4, **changes: Any) -> Plan:
    return Plan(files=files, settings=RunSettings(), rounds=rounds, **{"cool_seconds": 0, **changes})


def steady(file: Path, times: int) -> Run:
    return Run(10.0 * (1 + ord(file.name[0]) - ord("a")) + times / 100, memory_mb=5.0 + times)


def bench(plan: Plan, act: Callable[[Path, int], Run] = steady, *states: DeviceState) -> tuple[Outcome, ScriptedEngine]:
    engine = ScriptedEngine(act)
    return run_rounds(ScriptedDevice(*(states or (COOL,))), engine, plan), engine


def test_every_round_runs_every_file_once_in_the_order_of_the_schedule() -> None:
    outcome, engine = bench(at_once(A, B, C, rounds=7, seed=3))
    files = (A, B, C)
    assert engine.ran == [files[place] for index in range(7) for place in order_of_round(3, index, 3)]
    assert [each.index for each in outcome.rounds] == list(range(7))
    assert outcome.refused == {} and outcome.note is None
    assert [run.latency_ms for run in outcome.figures(B)] == pytest.approx([20 + n / 100 for n in range(1, 8)])


def test_files_are_interleaved_and_not_in_a_fixed_order() -> None:
    _, engine = bench(at_once(A, B, rounds=12))
    rounds = [tuple(engine.ran[start : start + 2]) for start in range(0, 24, 2)]
    assert set(rounds) == {(A, B), (B, A)}
    assert rounds.count((A, B)) == 6


def test_the_seed_alone_decides_on_the_order() -> None:
    orders = {seed: tuple(bench(at_once(A, B, C, rounds=6, seed=seed))[1].ran) for seed in range(5)}
    assert orders[1] == tuple(bench(at_once(A, B, C, rounds=6, seed=1))[1].ran)
    assert len(set(orders.values())) > 1


def test_the_state_is_read_before_between_and_after() -> None:
    device = ScriptedDevice(COOL, MUTE, replace(COOL, battery_percent=70))
    outcome = run_rounds(device, ScriptedEngine(steady), at_once(A, rounds=2))
    assert device.read == 3
    assert [(each.before, each.after) for each in outcome.rounds] == [
        (COOL, MUTE),
        (MUTE, replace(COOL, battery_percent=70)),
    ]


@pytest.mark.parametrize("hot", [HOT, WARM])
def test_a_round_that_ended_hot_is_repeated(hot: DeviceState) -> None:
    # Before; after round 1; after round 2, hot; after the rest; after its repetition; after round 3.
    outcome, engine = bench(at_once(A, B, rounds=3), steady, COOL, COOL, hot, COOL, COOL, COOL)
    assert [(each.index, each.rejected is None) for each in outcome.rounds] == [
        (0, True),
        (1, False),
        (1, True),
        (2, True),
    ]
    assert len(engine.ran) == 8
    assert engine.ran[2:4] == engine.ran[4:6], "the repetition has the order of its round"
    assert len(outcome.figures(A)) == 3
    assert outcome.figures(A)[1].latency_ms == pytest.approx(10.03), "that of the repetition"
    assert outcome.note is None


def test_nothing_runs_on_a_device_that_is_hot_already() -> None:
    outcome, engine = bench(at_once(A, rounds=2), steady, HOT, HOT, COOL)
    assert [each.rejected for each in outcome.rounds] == [
        "the device reported thermal status 2",
        "the device reported thermal status 2",
        None,
        None,
    ]
    assert [each.runs for each in outcome.rounds[:2]] == [{}, {}]
    assert len(engine.ran) == 2


def test_the_limit_of_rejected_rounds_is_kept_and_said() -> None:
    outcome, engine = bench(at_once(A, B, max_rejected=3), steady, COOL, COOL, HOT)
    assert len(outcome.rounds) == 5 and len(outcome.accepted) == 1
    assert len(engine.ran) == 4
    assert outcome.note == "Stopped after 4 rejected rounds, the last because the device reported thermal status 2."
    assert len(outcome.figures(A)) == 1


def test_a_rest_is_told_second_by_second(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    said: list[str] = []
    engine = ScriptedEngine(steady)
    run_rounds(ScriptedDevice(HOT, COOL), engine, at_once(A, rounds=1, cool_seconds=3), said.append)
    assert sum(slept) == 3
    why = "round 1 rejected: the device reported thermal status 2; resting"
    assert said == [f"{why} 3 s", f"{why} 2 s", f"{why} 1 s", "round 1 of 1: a.tflite"]


def test_a_refused_file_is_given_up_and_the_others_go_on() -> None:
    def act(file: Path, times: int) -> Run:
        return Run(None, "no such delegate") if file == B else steady(file, times)

    outcome, engine = bench(at_once(A, B, C), act)
    assert outcome.refused == {B: "no such delegate"}
    assert [engine.ran.count(file) for file in (A, B, C)] == [4, 1, 4]
    assert len(outcome.accepted) == 4


def test_without_a_file_left_the_rounds_end() -> None:
    outcome, engine = bench(at_once(A, B), lambda _file, _times: Run(None, "broken"))
    assert outcome.refused == {A: "broken", B: "broken"}
    assert len(engine.ran) == 2


def test_a_file_that_ran_before_is_not_given_up_for_one_refused_run() -> None:
    def act(file: Path, times: int) -> Run:
        return Run(None, "It was killed.") if (file, times) == (A, 3) else steady(file, times)

    outcome, _ = bench(at_once(A, B, rounds=5), act)
    assert outcome.refused == {}
    assert [each.rejected for each in outcome.rounds if each.rejected] == ["a.tflite was refused: It was killed."]
    assert len(outcome.figures(A)) == len(outcome.figures(B)) == 5


def test_a_file_that_is_refused_from_some_round_on_stops_the_bench_with_its_reason() -> None:
    def act(file: Path, times: int) -> Run:
        return Run(None, "It was killed.") if file == A and times > 2 else steady(file, times)

    outcome, _ = bench(at_once(A, B, rounds=9, max_rejected=2), act)
    assert len(outcome.figures(A)) == 2
    assert outcome.note == ("Stopped after 3 rejected rounds, the last because a.tflite was refused: It was killed.")


def test_a_lost_device_ends_the_bench() -> None:
    def act(file: Path, times: int) -> Run:
        raise DeviceError("It is gone.")

    with pytest.raises(DeviceError, match="It is gone"):
        bench(at_once(A), act)


def test_what_progress_raises_ends_the_bench() -> None:
    def stop(_message: str) -> None:
        raise KeyboardInterrupt

    engine = ScriptedEngine(steady)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(ScriptedDevice(COOL), engine, at_once(A), stop)
    assert engine.ran == []


@given(
    hot=st.lists(st.booleans(), min_size=1, max_size=60),
    refused=st.sets(st.tuples(st.sampled_from([A, B, C]), st.integers(1, 8))),
    rounds=st.integers(1, 8),
    most=st.integers(0, 4),
)
@times(4)
def test_whatever_happens_the_counts_hold(
    hot: list[bool], refused: set[tuple[Path, int]], rounds: int, most: int
) -> None:
    def act(file: Path, times: int) -> Run:
        return Run(None, "refused") if (file, times) in refused else steady(file, times)

    plan = at_once(A, B, C, rounds=rounds, max_rejected=most)
    outcome, _ = bench(plan, act, *(HOT if each else COOL for each in hot))
    rejected = [each for each in outcome.rounds if each.rejected]
    assert len(rejected) <= most + 1
    assert (outcome.note is None) == (len(rejected) <= most)
    assert [each.index for each in outcome.accepted] == list(range(len(outcome.accepted)))
    if outcome.note is None and len(outcome.refused) < 3:
        assert len(outcome.accepted) == rounds
    for each in outcome.accepted:
        assert out_of_bounds(each.before) is None and out_of_bounds(each.after) is None
    for file in (A, B, C):
        if file not in outcome.refused:
            assert len(outcome.figures(file)) == len(outcome.accepted)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (COOL, None),
        (MUTE, None),
        (replace(COOL, battery_celsius=45.0), None),
        (replace(COOL, battery_celsius=45.06), "the battery was at 45.1 °C"),
        (replace(COOL, thermal_status=1), "the device reported thermal status 1"),
        (replace(MUTE, thermal_status=6), "the device reported thermal status 6"),
    ],
)
def test_the_bounds(state: DeviceState, why: str | None) -> None:
    assert out_of_bounds(state) == why


@pytest.fixture
def artifacts(tmp_path: Path) -> tuple[Artifact, ...]:
    return make_artifacts(tmp_path)


def make_artifacts(folder: Path) -> tuple[Artifact, ...]:
    """Return two files of a bundle, and two that stand alone, of 1 to 4 MB."""
    found = []
    for number, (name, group) in enumerate([("n/a", "n"), ("n/b", "n"), ("c", "files"), ("d", "files")]):
        path = folder / f"{name[-1]}.tflite"
        path.write_bytes(bytes(1_000_000 * (number + 1)))
        found.append(Artifact(path, f"{name}.tflite", group, "unknown", f"{number:064x}", None))
    return tuple(found)


def result_of(
    artifacts: Sequence[Artifact],
    act: Callable[[Path, int], Run] = steady,
    *states: DeviceState,
    facts: DeviceFacts = FACTS,
    **changes: Any,
) -> BenchResult:
    """Return the result of a bench of made-up runs: by default of 10, 20, 30 and 40 ms, each round a little slower."""
    plan = at_once(*(artifact.path for artifact in artifacts), **{"rounds": 8, **changes})
    outcome, engine = bench(plan, act, *states)
    result = make_result(facts, engine.describe(), artifacts, plan, outcome)
    content = result.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    return result


def test_the_result_has_the_keys_of_the_contract(artifacts: tuple[Artifact, ...]) -> None:
    content = result_of(artifacts).to_json()
    assert set(content) == {"device", "engine", "settings", "results", "comparisons", "rounds", "notes"}
    for result in content["results"]:
        assert {"file", "precision", "threads", "latency_ms", "rounds", "raw_ms"} <= set(result)
        assert {"memory_mb", "accepted", "why_not"} <= set(result)
        assert {"median", "mean", "p5", "p95", "min", "max", "stddev"} <= set(result["latency_ms"])
    for comparison in content["comparisons"]:
        assert {"file", "against", "ratio", "low", "high", "verdict"} <= set(comparison)
    assert content["device"]["model"] == "Phone 5"
    assert content["settings"] == {**asdict(RunSettings()), "rounds": 8, "seed": 0}


def test_the_figures_are_those_of_the_runs(artifacts: tuple[Artifact, ...]) -> None:
    bench = result_of(artifacts)
    first, *_, last = bench.results
    raw = [10 + n / 100 for n in range(1, 9)]
    assert first.raw_ms == pytest.approx(raw)
    assert first.latency_ms.median == pytest.approx(median(raw))
    assert first.latency_ms.min == pytest.approx(10.01)
    assert first.rounds == 8
    assert first.memory_mb == 13.0, "the largest"
    assert (first.size_mb, last.size_mb) == (1.0, 4.0)
    assert first.accepted is True and first.why_not is None
    assert [run.latency_ms for each in bench.rounds for run in [each.runs["n/a.tflite"]]] == list(first.raw_ms)


def test_files_are_compared_within_their_group(artifacts: tuple[Artifact, ...]) -> None:
    comparisons = result_of(artifacts).comparisons
    assert [(each.file, each.against) for each in comparisons] == [
        ("n/b.tflite", "n/a.tflite"),
        ("d.tflite", "c.tflite"),
    ]
    assert comparisons[0].verdict == "slower"
    assert comparisons[0].ratio == pytest.approx(median((20 + n / 100) / (10 + n / 100) for n in range(1, 9)), 1e-6)
    assert comparisons[1].ratio == pytest.approx(4 / 3, rel=0.01)


def test_a_refused_file_has_no_figures_and_the_next_one_is_the_measure(artifacts: tuple[Artifact, ...]) -> None:
    def act(file: Path, times: int) -> Run:
        return Run(None, "It crashed.") if file.name == "c.tflite" else steady(file, times)

    bench = result_of(artifacts, act)
    refused = bench.results[2]
    assert (refused.accepted, refused.why_not, refused.latency_ms) == (False, "It crashed.", None)
    assert (refused.raw_ms, refused.memory_mb, refused.rounds) == ((), None, 0)
    assert [each.against for each in bench.comparisons] == ["n/a.tflite"]


def test_a_bench_without_a_round_that_counts_says_why(artifacts: tuple[Artifact, ...]) -> None:
    bench = result_of(artifacts, steady, HOT)
    why = "Stopped after 6 rejected rounds, the last because the device reported thermal status 2."
    assert [(each.accepted, each.why_not) for each in bench.results] == [(False, why)] * 4
    assert bench.notes == (why,)
    assert bench.comparisons == ()
    assert [each.rejected for each in bench.rounds] == ["the device reported thermal status 2"] * 6


def test_rounds_that_were_rejected_are_kept_and_do_not_count(artifacts: tuple[Artifact, ...]) -> None:
    def act(file: Path, times: int) -> Run:
        return replace(steady(file, times), latency_ms=1000.0 if times == 2 else 10.0)

    bench = result_of(artifacts, act, COOL, COOL, HOT, COOL)
    assert bench.results[0].raw_ms == (10.0,) * 8
    assert bench.rounds[1].runs["n/a.tflite"].latency_ms == 1000.0
    assert bench.rounds[1].after.thermal_status == 2


def test_an_emulated_device_is_marked(artifacts: tuple[Artifact, ...]) -> None:
    bench = result_of(artifacts, facts=replace(FACTS, emulated=True))
    assert bench.notes == (EMULATED,)


def test_a_file_is_not_compared_with_a_copy_of_itself(artifacts: tuple[Artifact, ...]) -> None:
    first, second, *_ = artifacts
    bench = result_of((first, replace(second, sha256=first.sha256)))
    assert len(bench.results) == 2
    assert bench.comparisons == ()
    assert bench.notes == ("n/b.tflite holds the same bytes as n/a.tflite: there is nothing to compare.",)
    assert result_of((first,)).comparisons == ()


def test_few_rounds_have_no_verdict(artifacts: tuple[Artifact, ...]) -> None:
    comparison = result_of(artifacts, rounds=5).comparisons[0]
    assert (comparison.verdict, comparison.rounds_to_settle) == ("inconclusive", 1)
