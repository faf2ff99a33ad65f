"""Baselines: what is kept, what is refused, and when an artifact counts as slower than it was."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.baseline import (
    MARGIN,
    Baseline,
    Change,
    Entry,
    compare_with_baseline,
    load_baseline,
    save_baseline,
)
from mobilekit.bench.devices.base import Core, DeviceFacts
from mobilekit.errors import UsageError

PHONE = DeviceFacts(
    name="adb:0A1B2C",
    model="Phone 5",
    abi="arm64-v8a",
    soc="sm0000",
    os="Android 14",
    fingerprint="maker/phone:14/AB1",
    cores=(Core(0, 1_800_000), Core(1, None)),
    governor=None,
    emulated=False,
)
ROUNDS = (10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98, 10.01, 9.99)


def entry(raw_ms: tuple[float, ...] = ROUNDS, **changes: Any) -> Entry:
    figures = {"file": "net/model.int8.tflite", "precision": "int8", "threads": 1, "engine": "benchmark_model"}
    return Entry(**{**figures, "statistic": "median", "sha256": "0" * 64, "raw_ms": raw_ms, **changes})


def bench(*entries: Entry, **device: Any) -> Baseline:
    return Baseline(
        date=datetime(2026, 3, 1, 12, tzinfo=UTC),
        device=dataclasses.replace(PHONE, **device),
        tools={"mobilekit": "0.1", "benchmark_model": "2.14.1"},
        entries=entries,
    )


def scaled(factor: float) -> tuple[float, ...]:
    return tuple(factor * value for value in ROUNDS)


def changes_of(now: Baseline, then: Baseline, margin: float = MARGIN) -> dict[str, Change]:
    return {change.file: change for change in compare_with_baseline(now, then, margin)}


def only(now: Baseline, then: Baseline, margin: float = MARGIN) -> Change:
    (change,) = compare_with_baseline(now, then, margin)
    return change


def test_a_baseline_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    kept = bench(entry(), entry(threads=4), entry(precision="float32", cpu_mask="f0", delegate="gpu"))
    save_baseline(path, kept)
    assert load_baseline(path) == kept
    assert json.loads(path.read_text())["format"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["baseline.json"]


WRITTEN = """
{"format": 1, "date": "2026-03-01T12:00:00Z",
 "device": {"name": "local", "model": "Some CPU", "abi": "x86_64", "soc": null, "os": "Linux 6.1", "fingerprint": null,
            "cores": [{"index": 0, "max_khz": null}], "governor": null, "emulated": false},
 "tools": {"mobilekit": "0.1"},
 "entries": [{"file": "net/model.float32.tflite", "precision": "float32", "threads": 1, "engine": "litert",
              "statistic": "mean", "cpu_mask": null, "delegate": null,
              "sha256": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "raw_ms": [7.5, 8]}]}
"""


def test_files_written_in_format_1_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(WRITTEN)
    read = load_baseline(path)
    assert (read.date, read.device.model, read.device.cores) == (bench().date, "Some CPU", (Core(0, None),))
    assert (read.entries[0].raw_ms, read.entries[0].statistic) == ((7.5, 8.0), "mean")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (WRITTEN, "", "not JSON"),
        (WRITTEN, WRITTEN[:-40], "not JSON"),
        (WRITTEN, "[" * 100_000, "not JSON"),
        (WRITTEN, "[]", "does not say its format"),
        ('"format": 1, ', "", "does not say its format"),
        ('"format": 1', '"format": 2', "has the format 2; this mobilekit reads 1"),
        ('"format": 1', '"format": "1"', "has the format '1'"),
        ("[7.5, 8]", "[]", "entries.0.raw_ms"),
        ("[7.5, 8]", "[7.5, NaN]", "entries.0.raw_ms.1"),
        ("[7.5, 8]", "[7.5, Infinity]", "entries.0.raw_ms.1"),
        ("[7.5, 8]", "[7.5, 1e999]", "entries.0.raw_ms.1"),
        ("[7.5, 8]", "[-7.5]", "entries.0.raw_ms.0"),
        ("[7.5, 8]", '["7.5"]', "entries.0.raw_ms.0"),
        ("[7.5, 8]", "[true]", "entries.0.raw_ms.0"),
        ('"threads": 1', '"threads": 0', "entries.0.threads"),
        ('"mean"', '"p95"', "entries.0.statistic"),
        ('"0011', '"', "entries.0.sha256"),
        ('"abi": "x86_64", ', "", "device.abi"),
        ("T12:00:00Z", "", "date"),
        ('"tools"', '"surprise": 1, "tools"', "surprise"),
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "baseline.json"
    assert old in WRITTEN
    path.write_text(WRITTEN.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_baseline(path)
    assert said in caught.value.what
    assert str(path) in caught.value.what
    assert "--save-baseline" in caught.value.hint


def test_missing_unreadable_and_unwritable_files_are_usage_errors(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.json", tmp_path, binary):
        with pytest.raises(UsageError, match=str(path)):
            load_baseline(path)
    with pytest.raises(UsageError, match="Cannot write"):
        save_baseline(tmp_path / "no folder" / "baseline.json", bench())
    with pytest.raises(UsageError, match="Cannot write"):
        save_baseline(tmp_path, bench())


def test_one_artifact_under_the_same_conditions_stands_once() -> None:
    bench(entry(), entry(threads=2), entry(engine="litert"))
    with pytest.raises(ValueError, match="stands twice"):
        bench(entry(), entry(scaled(2)))


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.1, "regressed"),
        (0.9, "improved"),
        (1.0, "same"),
        (1.01, "same"),
        (1.03, "inconclusive"),
        (0.97, "inconclusive"),
    ],
)
def test_verdicts(factor: float, verdict: str) -> None:
    change = only(bench(entry(scaled(factor))), bench(entry()))
    assert change.verdict == verdict
    assert change.ratio == pytest.approx(factor)
    assert change.low is not None
    assert change.high is not None
    assert change.low < factor < change.high
    assert (change.confidence, change.same_file) == (0.95, True)


def test_a_wider_margin_forgives_and_none_forgives_nothing() -> None:
    slower = bench(entry(scaled(1.1)))
    assert only(slower, bench(entry()), margin=0.2).verdict == "same"
    assert only(bench(entry(scaled(1.02))), bench(entry()), margin=0).verdict == "regressed"


def test_a_changed_device_is_named_where_the_file_is_the_same() -> None:
    same = only(bench(entry(scaled(2))), bench(entry()))
    other = only(bench(entry(scaled(2), sha256="1" * 64)), bench(entry()))
    assert "the file is the same" in same.why
    assert (other.verdict, other.same_file) == ("regressed", False)
    assert "the file is the same" not in other.why


def test_few_rounds_tell_nothing() -> None:
    change = only(bench(entry((20.0, 20.1, 20.2))), bench(entry((10.0, 10.1, 10.2))))
    assert (change.verdict, change.confidence) == ("inconclusive", pytest.approx(1 - 2 / 20))
    assert "too few rounds" in change.why


@pytest.mark.parametrize(
    ("name", "value"),
    [("threads", 2), ("engine", "litert"), ("statistic", "mean"), ("cpu_mask", "f0"), ("delegate", "gpu")],
)
def test_other_conditions_are_never_compared(name: str, value: object) -> None:
    change = only(bench(entry(scaled(2), **{name: value})), bench(entry()))
    assert (change.verdict, change.ratio, change.low, change.high) == ("not-comparable", None, None, None)
    assert change.why == f"{name} was {getattr(entry(), name)} and is {value}"


@pytest.mark.parametrize(("name", "value"), [("model", "Phone 6"), ("abi", "armeabi-v7a"), ("soc", "mt0000")])
def test_another_device_is_never_compared(name: str, value: str) -> None:
    change = only(bench(entry(scaled(2)), **{name: value}), bench(entry()))
    assert change.verdict == "not-comparable"
    assert change.why == f"the device's {name} was {getattr(PHONE, name)} and is {value}"


@pytest.mark.parametrize(("now", "then"), [(True, True), (True, False), (False, True)])
def test_an_emulated_device_is_never_compared(now: bool, then: bool) -> None:
    change = only(bench(entry(scaled(2)), emulated=now), bench(entry(), emulated=then))
    assert (change.verdict, change.ratio) == ("not-comparable", None)
    assert "emulated" in change.why


def test_another_unit_of_the_device_or_an_unknown_chip_is_compared() -> None:
    change = only(bench(entry(), name="adb:other", os="Android 15", soc=None), bench(entry()))
    assert change.verdict == "same"


def test_each_artifact_meets_its_own_conditions() -> None:
    then = bench(entry(threads=4, raw_ms=scaled(0.4)), entry(threads=1))
    assert only(bench(entry(threads=1)), then).verdict == "same"
    assert only(bench(entry(threads=4)), then).verdict == "regressed"


def test_new_and_missing_artifacts_are_said() -> None:
    now, then = bench(entry(), entry(file="a")), bench(entry(), entry(file="b"))
    changes = compare_with_baseline(now, then)
    assert [(change.file, change.verdict) for change in changes] == [
        ("net/model.int8.tflite", "same"),
        ("a", "new"),
        ("b", "missing"),
    ]
    assert json.loads(json.dumps(changes[1].to_json()))["ratio"] is None


def test_a_bench_is_the_same_as_itself_whatever_its_noise() -> None:
    rng = np.random.default_rng(0)
    noisy = entry(tuple(10 * np.exp(0.02 * rng.standard_t(2, 15))))
    change = only(bench(noisy), bench(noisy))
    assert change.ratio == pytest.approx(1)
    assert change.verdict in ("same", "inconclusive")


FIGURES = st.lists(st.integers(1, 10**6).map(lambda us: us / 1000), min_size=1, max_size=12).map(tuple)


@given(FIGURES, FIGURES)
def test_swapping_now_and_then_turns_the_verdict_round(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    one, two = bench(entry(first)), bench(entry(second))
    there, back = only(two, one), only(one, two)
    assert back.verdict == {"regressed": "improved", "improved": "regressed"}.get(there.verdict, there.verdict)
    assert there.ratio is not None
    assert back.ratio == pytest.approx(1 / there.ratio)


def _verdicts(level: float, noise: str, slower: float = 1.0, benches: int = 1000) -> list[str]:
    """Play pairs of benches whose levels differ from day to day with standard deviation `level`."""
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(benches):
        days = []
        for factor in (1.0, slower):
            rounds = 0.02 * (rng.standard_t(2, 15) if noise == "heavy tails" else rng.standard_normal(15))
            days.append(tuple(10 * factor * np.exp(rng.normal(0, level) + rounds)))
        verdicts.append(only(bench(entry(days[1])), bench(entry(days[0]))).verdict)
    return verdicts


@pytest.mark.parametrize("noise", ["normal", "heavy tails"])
def test_days_that_differ_as_the_margin_allows_rarely_regress(noise: str) -> None:
    level = math.log1p(MARGIN) / (1.96 * math.sqrt(2))
    assert level == pytest.approx(0.0107, abs=1e-4)
    assert _verdicts(level, noise).count("regressed") <= 0.025 * 1000


def test_ten_percent_are_found_in_spite_of_the_days() -> None:
    assert _verdicts(0.0107, "normal", slower=1.1, benches=200).count("regressed") >= 0.95 * 200
