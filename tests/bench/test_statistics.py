"""Figures with their uncertainty: held to independent formulas, and to what they promise in simulated benches."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilekit.bench.statistics import (
    MIN_ROUNDS,
    POWER,
    Comparison,
    compare,
    median_interval,
    summarize,
    unpaired_ratio,
)
from tests.bench.test_schedule import orders

Floats = NDArray[np.float64]
# Whole microseconds, as tools print them, so that figures are equal or clearly not.
MILLISECONDS = st.integers(1, 10**7).map(lambda us: us / 1000)
FIGURES = st.lists(MILLISECONDS, min_size=1, max_size=30)
PAIRS = st.lists(st.tuples(MILLISECONDS, MILLISECONDS), min_size=1, max_size=30)

NOISES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, n: 0.02 * rng.standard_normal(n),
    "heavy tails": lambda rng, n: 0.02 * rng.standard_t(2, n),
    "skewed": lambda rng, n: rng.exponential(0.05, n),
    "spikes": lambda rng, n: 0.01 * rng.standard_normal(n) + (rng.random(n) < 0.15) * rng.exponential(0.5, n),
}
TRUE_MEDIANS = {"normal": 0.0, "heavy tails": 0.0, "skewed": 0.05 * math.log(2)}


def test_figures_of_known_values() -> None:
    latency = summarize([4.0, 1.0, 2.0, 3.0, 10.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    assert (latency.median, latency.mean, latency.min, latency.max) == (5.5, 5.5, 1.0, 10.0)
    assert latency.p5 == pytest.approx(1.45)
    assert latency.p95 == pytest.approx(9.55)
    assert latency.stddev == pytest.approx(math.sqrt(82.5 / 9))
    # Ten figures: the 2nd and 9th, 1 - 2 (1 + 10) / 1024, as in tables of the sign test.
    assert (latency.low, latency.high, latency.confidence) == (2.0, 9.0, pytest.approx(1 - 22 / 1024))
    assert latency.rounds == 10


@given(st.lists(MILLISECONDS, min_size=2, max_size=40))
def test_figures_are_those_of_numpy(values: list[float]) -> None:
    latency = summarize(values)
    assert latency.median == pytest.approx(np.median(values))
    assert latency.mean == pytest.approx(np.mean(values))
    assert [latency.p5, latency.p95] == pytest.approx(np.percentile(values, [5, 95]))
    assert latency.stddev == pytest.approx(np.std(values, ddof=1), abs=1e-9)


@pytest.mark.parametrize("count", [*range(6, 60), 100, 1200])
def test_interval_of_the_median_is_the_tightest_that_the_binomial_distribution_allows(count: int) -> None:
    interval = median_interval(range(1, count + 1))
    rank = int(interval.low)
    assert interval.high == count + 1 - rank
    assert interval.confidence == pytest.approx(1 - 2 * scipy.stats.binom.cdf(rank - 1, count, 0.5))
    assert interval.confidence >= 0.95 > 1 - 2 * scipy.stats.binom.cdf(rank, count, 0.5)


@pytest.mark.parametrize(("count", "confidence"), [(1, 0), (2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375)])
def test_few_figures_give_their_range_and_its_true_confidence(count: int, confidence: float) -> None:
    latency = summarize(range(1, count + 1))
    assert (latency.low, latency.high, latency.confidence) == (1, count, confidence)


@pytest.mark.parametrize("noise", TRUE_MEDIANS)
@pytest.mark.parametrize("count", [6, 8, 11, 20, 50])
def test_the_interval_covers_the_median_as_often_as_it_says(noise: str, count: int) -> None:
    rng = np.random.default_rng(count)
    median = 10 * math.exp(TRUE_MEDIANS[noise])
    intervals = [median_interval(10 * np.exp(NOISES[noise](rng, count))) for _ in range(1500)]
    covered = np.mean([interval.low <= median <= interval.high for interval in intervals])
    assert covered >= 0.93
    assert covered == pytest.approx(intervals[0].confidence, abs=0.025)  # 4 standard deviations


@pytest.mark.parametrize("count", [6, 15])
def test_a_bootstrap_would_not_cover_as_much_as_it_says(count: int) -> None:
    """Why there is none: the 95 % percentile bootstrap of a median covers 93 % with 6 figures, 92 % with 15."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        values = rng.standard_normal(count)
        medians = np.median(values[rng.integers(0, count, (300, count))], axis=1)
        low, high = np.percentile(medians, [2.5, 97.5])
        covered.append(low <= 0 <= high)
    assert np.mean(covered) < 0.94


@given(FIGURES, st.integers(-10, 6))
def test_scaling_the_figures_scales_what_they_give(values: list[float], power: int) -> None:
    scale = 2.0**power
    before, after = summarize(values).to_json(), summarize([value * scale for value in values]).to_json()
    for name, figure in before.items():
        factor = 1 if name in ("confidence", "rounds") else scale
        assert after[name] == pytest.approx(figure * factor, rel=1e-9, abs=1e-12 * scale), name


@given(
    st.one_of(
        st.tuples(MILLISECONDS).map(list), st.tuples(MILLISECONDS, st.integers(2, 20)).map(lambda p: [p[0]] * p[1])
    )
)
def test_one_figure_or_equal_ones_have_no_spread(values: list[float]) -> None:
    latency = summarize(values)
    ends = {latency.median, latency.min, latency.max, latency.low, latency.high}
    assert ends == {values[0]}
    assert [latency.mean, latency.p5, latency.p95] == pytest.approx([values[0]] * 3)
    assert latency.stddev == 0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, 1e-300])
def test_what_is_no_latency_is_refused(wrong: float) -> None:
    for call in (
        lambda: summarize([1.0, wrong]),
        lambda: compare([1.0, wrong], [1.0, 1.0]),
        lambda: compare([1.0, 1.0], [1.0, wrong]),
        lambda: unpaired_ratio([1.0], [wrong]),
    ):
        with pytest.raises(ValueError, match="is no latency"):
            call()


def test_no_figures_and_unpaired_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="no figures"):
        summarize([])
    with pytest.raises(ValueError, match="no figures"):
        compare([], [])
    with pytest.raises(ValueError, match="cannot be paired"):
        compare([1.0, 2.0], [1.0])


def test_a_comparison_of_known_rounds() -> None:
    a = [10.0, 20.0, 40.0, 10.0, 30.0, 10.0]
    ratios = [1.1, 1.2, 1.05, 1.3, 1.15, 1.25]
    result = compare(a, [value * ratio for value, ratio in zip(a, ratios, strict=True)])
    assert result.ratio == pytest.approx(math.sqrt(1.15 * 1.2))
    assert (result.low, result.high) == pytest.approx((1.05, 1.3))
    assert (result.verdict, result.confidence, result.rounds_to_settle) == ("slower", 1 - 2 / 64, 0)


def test_too_few_rounds_never_give_a_verdict() -> None:
    for rounds in range(1, MIN_ROUNDS):
        result = compare([10.0] * rounds, [20.0] * rounds)
        assert (result.ratio, result.verdict) == (pytest.approx(2), "inconclusive")
        assert result.rounds_to_settle == MIN_ROUNDS - rounds
        assert re.match(rf"{rounds} rounds? ha(s|ve) no 95 % interval", result.why)
    assert compare([10.0] * 6, [20.0] * 6).verdict == "slower"


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "inconclusive"), (1.02, "slower"), (0.95, "faster")])
def test_rounds_that_are_all_alike(ratio: float, verdict: str) -> None:
    result = compare([10.0] * 9, [10.0 * ratio] * 9)
    assert result.verdict == verdict
    assert result.rounds_to_settle == (None if ratio == 1 else 0)


def _both_ways(pairs: list[tuple[float, float]]) -> tuple[Comparison, Comparison]:
    a, b = zip(*pairs, strict=True)
    return compare(a, b), compare(b, a)


@given(PAIRS)
def test_swapping_the_two_turns_the_comparison_round(pairs: list[tuple[float, float]]) -> None:
    there, back = _both_ways(pairs)
    assert [back.ratio, back.low, back.high] == pytest.approx([1 / there.ratio, 1 / there.high, 1 / there.low])
    assert back.verdict == {"faster": "slower", "slower": "faster"}.get(there.verdict, there.verdict)
    assert back.rounds_to_settle == there.rounds_to_settle


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_rounds_does_not_matter(pairs: list[tuple[float, float]], random: Random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    assert _both_ways(shuffled) == _both_ways(pairs)


@given(PAIRS, st.integers(-6, 6))
def test_the_unit_does_not_matter(pairs: list[tuple[float, float]], power: int) -> None:
    before, _ = _both_ways(pairs)
    after, _ = _both_ways([(a * 2.0**power, b * 2.0**power) for a, b in pairs])
    assert (after.verdict, after.rounds) == (before.verdict, before.rounds)
    assert [after.ratio, after.low, after.high] == pytest.approx([before.ratio, before.low, before.high])


@given(PAIRS)
def test_a_comparison_is_finite_and_hangs_together(pairs: list[tuple[float, float]]) -> None:
    result, _ = _both_ways(pairs)
    assert all(math.isfinite(figure) for figure in (result.ratio, result.low, result.high, result.confidence))
    assert result.low <= result.ratio * (1 + 1e-12)
    assert result.ratio <= result.high * (1 + 1e-12)
    assert (result.rounds_to_settle == 0) == (result.verdict != "inconclusive")


DRIFTS: dict[str, Callable[[int], float]] = {
    "heating up": lambda run: 1 + 0.3 * (1 - math.exp(-run / 20)),
    "throttled at once": lambda run: 1 + 0.4 * (run > 17),
    "slower and slower": lambda run: 1 + 0.02 * run,
}


def _play(effects: list[float], rounds: int, seed: int, noise: str, drift: str) -> list[list[float]]:
    """Play a bench: runs in the order of the schedule, on a device that changes with every run."""
    rng = np.random.default_rng(seed)
    figures = [[0.0] * rounds for _ in effects]
    noises = iter(NOISES[noise](rng, rounds * len(effects)))
    for index, order in enumerate(orders(len(effects), rounds, seed)):
        for place, file in enumerate(order):
            shared = DRIFTS[drift](index * len(effects) + place)
            figures[file][index] = 10 * effects[file] * shared * math.exp(next(noises))
    return figures


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize(
    ("noise", "files", "rounds"), [("heavy tails", 2, 15), ("heavy tails", 5, 30), ("spikes", 3, 9)]
)
def test_equal_artifacts_are_rarely_told_apart(noise: str, files: int, rounds: int, drift: str) -> None:
    verdicts = []
    for seed in range(1000):
        first, second, *_ = _play([1.0] * files, rounds, seed, noise, drift)
        verdicts.append(compare(first, second).verdict)
    assert np.mean([verdict != "inconclusive" for verdict in verdicts]) <= 0.06


def test_runs_in_a_fixed_order_would_be_told_apart() -> None:
    """The test above can fail: without the schedule, the device's drift makes the second file slower."""
    verdicts = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        runs = [10 * (1 + 0.02 * run) * math.exp(noise) for run, noise in enumerate(0.005 * rng.standard_normal(30))]
        verdicts.append(compare(runs[::2], runs[1::2]).verdict)
    assert verdicts.count("slower") > 50


@pytest.mark.parametrize("files", [2, 4])
def test_five_percent_are_settled_in_fifteen_rounds(files: int) -> None:
    settled = []
    for seed in range(300):
        base, slow, *_ = _play([1.0, 1.05] + [1.0] * (files - 2), 15, seed, "normal", "heating up")
        settled.append(compare(base, slow).verdict == "slower")
    assert np.mean(settled) >= 0.95


@pytest.mark.parametrize(("change", "spread", "rounds"), [(0.02, 0.04, 9), (0.02, 0.04, 12), (0.01, 0.03, 20)])
def test_the_rounds_that_would_settle_it_do(change: float, spread: float, rounds: int) -> None:
    """Figures that lie as evenly as a normal distribution's quantiles; then benches of the length it asks for."""
    places = scipy.stats.norm.ppf((np.arange(rounds) + 0.5) / rounds)
    result = compare([10.0] * rounds, 10 * (1 + change) * np.exp(spread * places))
    assert result.verdict == "inconclusive"
    assert result.rounds_to_settle
    assert f"about {result.rounds_to_settle} more rounds" in result.why
    rng, needed = np.random.default_rng(0), rounds + result.rounds_to_settle
    ratios = (1 + change) * np.exp(spread * rng.standard_normal((1000, needed)))
    settled = np.mean([compare([10.0] * needed, 10 * row).verdict == "slower" for row in ratios])
    assert settled == pytest.approx(POWER, abs=0.07)


def test_no_number_of_rounds_settles_what_is_equal() -> None:
    values = [9.0, 11.0, 9.5, 10.5, 9.9, 10.1]
    result = compare(values, values[::-1])
    assert (result.verdict, result.rounds_to_settle) == ("inconclusive", None)
    assert "practically no difference" in result.why


def _unpaired_oracle(a: Floats, b: Floats, confidence: float) -> tuple[float, float]:
    """Every shift that an exact Mann-Whitney test does not refuse, by looking between all neighboring ratios."""
    ratios = np.sort(np.subtract.outer(np.log(b), np.log(a)).ravel())
    between = (ratios[1:] + ratios[:-1]) / 2
    kept = [
        place
        for place, shift in enumerate(between)
        if scipy.stats.mannwhitneyu(np.log(b) - shift, np.log(a), method="exact").pvalue > 1 - confidence
    ]
    return math.exp(ratios[kept[0]]), math.exp(ratios[kept[-1] + 1])


@pytest.mark.parametrize(("n", "m"), [(4, 4), (6, 3), (6, 6), (9, 12), (15, 10)])
def test_unpaired_interval_is_that_of_the_mann_whitney_test(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    a, b = 10 * np.exp(0.05 * rng.standard_normal(n)), 11 * np.exp(0.05 * rng.standard_normal(m))
    ratio, interval = unpaired_ratio(a, b)
    assert ratio == pytest.approx(math.exp(np.median(np.subtract.outer(np.log(b), np.log(a)))))
    low, high = _unpaired_oracle(a, b, 0.95)
    # The normal limit may be one ratio wider than the exact test, and is never narrower.
    ratios = np.sort(np.divide.outer(b, a).ravel())
    assert interval.low <= low * (1 + 1e-9)
    assert interval.high >= high * (1 - 1e-9)
    assert np.searchsorted(ratios, low * (1 - 1e-9)) - np.searchsorted(ratios, interval.low * (1 - 1e-9)) <= 1
    assert interval.confidence == 0.95


def _ways_to_rank(n: int, m: int) -> list[int]:
    """Count the orders of n and m figures by their Mann-Whitney statistic: the Gaussian binomial coefficient."""
    ways = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for degree in range(n * m, m + i - 1, -1):
            ways[degree] -= ways[degree - m - i]
        for degree in range(i, n * m + 1):
            ways[degree] += ways[degree - i]
    return ways


def test_unpaired_interval_never_covers_less_than_it_says() -> None:
    for n in range(1, 26, 2):
        for m in range(n, 26, 3):
            # Figures whose ratios are all different and known: the rank of the interval's end is then its place.
            a, b = [2.0**-place for place in range(n)], [2.0 ** (place / (m + 1)) for place in range(m)]
            _, interval = unpaired_ratio(a, b)
            ratios = sorted(math.log2(y / x) for x in a for y in b)
            rank = 1 + sum(ratio < math.log2(interval.low) - 1e-9 for ratio in ratios)
            covered = 1 - 2 * sum(_ways_to_rank(n, m)[:rank]) / math.comb(n + m, n)
            assert covered >= interval.confidence - 1e-12, (n, m)
            assert interval.confidence <= 0.95


@given(FIGURES, FIGURES)
def test_swapping_unpaired_figures_turns_the_ratio_round(a: list[float], b: list[float]) -> None:
    (there, one), (back, other) = unpaired_ratio(a, b), unpaired_ratio(b, a)
    assert [back, other.low, other.high] == pytest.approx([1 / there, 1 / one.high, 1 / one.low])
    assert one.low <= there * (1 + 1e-12)
    assert there <= one.high * (1 + 1e-12)


@given(MILLISECONDS, MILLISECONDS)
def test_two_single_figures_have_a_ratio_without_confidence(a: float, b: float) -> None:
    assume(a != b)
    ratio, interval = unpaired_ratio([a], [b])
    assert [ratio, interval.low, interval.high] == pytest.approx([b / a] * 3)
    assert interval.confidence == 0
