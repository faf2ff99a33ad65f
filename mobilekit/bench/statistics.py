"""Figures with their uncertainty, and what a comparison of two artifacts says.

Latencies are skewed and have outliers, and rounds are few, so everything here rests on ranks: the intervals hold
whatever the distribution of the noise is, and no bootstrap is needed (that of a median covers less than it says when
figures are few). What they do need is that the number of rounds is fixed beforehand: two equal artifacts compared after
each of 30 rounds, until a verdict comes, get a false one in about 15 % of benches.

Ranks come in steps: 6, 9, 12, 15, 17 and 20 rounds use the 5 % best, while 8 hardly say more than 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, median, quantiles, stdev
from typing import Literal

from mobilekit.store.jsonable import Jsonable

CONFIDENCE = 0.95
MIN_ROUNDS = 6
"""Fewer figures have no 95 % interval of their median: 1 - 2 / 2^5 is 93.75 %, 1 - 2 / 2^6 is 96.9 %."""
POWER = 0.8
"""How surely the rounds that `rounds_to_settle` asks for settle a comparison."""
MOST_ROUNDS = 1000
"""Where more rounds than this would be needed, the two are equal for all practical purposes."""
_SANE_MS = (1e-9, 1e9)

Verdict = Literal["faster", "slower", "inconclusive"]


@dataclass(frozen=True)
class Interval:
    """Where a true value lies."""

    low: float
    high: float
    confidence: float
    """How often such an interval holds the true value, at least. Figures too few for what was asked give their whole
    range, and this is below what was asked; 0 for a single figure."""


@dataclass(frozen=True)
class Latency(Jsonable):
    """One artifact's figures of all rounds, in ms. `low`, `high` and `confidence` are the interval of the median."""

    median: float
    mean: float
    p5: float
    p95: float
    min: float
    max: float
    stddev: float
    """Of a sample (n - 1); 0 for a single figure."""
    low: float
    high: float
    confidence: float
    rounds: int


@dataclass(frozen=True)
class Comparison(Jsonable):
    """How long one artifact takes, as a multiple of what another takes."""

    ratio: float
    low: float
    high: float
    confidence: float
    verdict: Verdict
    rounds: int
    rounds_to_settle: int | None
    """How many more rounds would probably settle it; 0: it is settled, None: more than `MOST_ROUNDS`."""
    why: str


def summarize(values_ms: Sequence[float]) -> Latency:
    """Return the figures of one artifact.

    Args:
        values_ms: One latency a round, in ms.

    Raises:
        ValueError: There is none, or one is no latency (negative, 0, infinite, not a number).
    """
    values = checked_ms(values_ms)
    interval = median_interval(values)
    steps = quantiles(values, n=20, method="inclusive") if len(values) > 1 else values
    return Latency(
        median=median(values),
        mean=fmean(values),
        p5=steps[0],
        p95=steps[-1],
        min=min(values),
        max=max(values),
        stddev=stdev(values) if len(values) > 1 else 0.0,
        low=interval.low,
        high=interval.high,
        confidence=interval.confidence,
        rounds=len(values),
    )


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of the median between two order statistics.

    The number of figures below the true median is binomial (n, 1/2) for every continuous distribution, so the k-th
    smallest and the k-th largest figure enclose it but for the cases where fewer than k lie on one side. k is the
    largest with a sufficient confidence. Equal figures only make it surer.

    Source: H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition, section 7.1.
    """
    ordered = sorted(values)
    rank, actual = _median_rank(len(ordered), confidence)
    return Interval(ordered[rank - 1], ordered[-rank], actual)


def compare(a_ms: Sequence[float], b_ms: Sequence[float]) -> Comparison:
    """Compare artifact b with artifact a by the rounds in which both ran; the ratio is b / a.

    Each round gives a log-ratio, in which what the two share (heat, other load) cancels; the ratio is their median, and
    its interval is that of the median. If the two are equal and the order in a round is random, each is as often ahead
    as behind, whatever the device does over time: the interval then excludes 1 in at most 5 % of comparisons.

    Verdict: `faster` or `slower` where the interval excludes 1; else, or where there are too few rounds for a 95 %
    interval, `inconclusive`.

    Rounds to settle: the interval's width gives the standard error, (high - low) / (2 z), of the median log-ratio at
    n rounds, and it shrinks with the square root of the rounds. To be settled with probability `POWER`, a distance d
    needs (z_95 + z_POWER) standard errors, thus n x ((z_95 + z_POWER) x error / d)^2 rounds. d is the distance of the
    ratio from 1. The ratio and the spread so far are taken for the true ones, so it tells tens of rounds from hundreds
    and no more.

    Args:
        a_ms: Latency of a in each round, in ms.
        b_ms: Latency of b in the same rounds.

    Raises:
        ValueError: The rounds are not as many, there is none, or a figure is no latency.
    """
    if len(a_ms) != len(b_ms):
        raise ValueError(f"{len(a_ms)} figures cannot be paired with {len(b_ms)}")
    logs = [math.log(b) - math.log(a) for a, b in zip(checked_ms(a_ms), checked_ms(b_ms), strict=True)]
    middle, interval = median(logs), median_interval(logs)
    verdict = _verdict(interval)
    more = 0 if verdict != "inconclusive" else _rounds_to_settle(middle, interval, len(logs))
    return Comparison(
        ratio=math.exp(middle),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        confidence=interval.confidence,
        verdict=verdict,
        rounds=len(logs),
        rounds_to_settle=more,
        why=_explanation(verdict, len(logs), more),
    )


def unpaired_ratio(a_ms: Sequence[float], b_ms: Sequence[float]) -> tuple[float, Interval]:
    """Return b / a of figures that no rounds pair, and its interval.

    The ratio is the median of all b / a (Hodges and Lehmann); its interval lies between two order statistics of them,
    the k-th from each end, k = floor(n m / 2 - z sqrt(n m (n + m + 1) / 12)), from the normal limit of the Mann-Whitney
    distribution. By the exact distribution this covers 95.0 % or more for all n, m up to 25. Where k is 0 it is the
    whole range, which covers 1 - 2 / binomial(n + m, n). It holds for any noise that multiplies both alike.

    Source: M. Hollander, D. Wolfe and E. Chicken, Nonparametric Statistical Methods, 3rd edition, sections 4.2 and 4.3.

    Args:
        a_ms: Figures of a, in ms.
        b_ms: Figures of b; as many or not.

    Raises:
        ValueError: There are none, or a figure is no latency.
    """
    a_logs, b_logs = ([math.log(value) for value in checked_ms(values)] for values in (a_ms, b_ms))
    ratios = sorted(b - a for a in a_logs for b in b_logs)
    n, m = len(a_logs), len(b_logs)
    rank = math.floor(n * m / 2 - _z(CONFIDENCE) * math.sqrt(n * m * (n + m + 1) / 12))
    confidence = CONFIDENCE if rank >= 1 else 1 - 2 / math.comb(n + m, n)
    rank = max(rank, 1)
    return math.exp(median(ratios)), Interval(math.exp(ratios[rank - 1]), math.exp(ratios[-rank]), confidence)


def checked_ms(values_ms: Sequence[float]) -> list[float]:
    """Return latencies as they are.

    Raises:
        ValueError: There is none, or one is no latency (negative, 0, infinite, not a number).
    """
    values = [float(value) for value in values_ms]
    low, high = _SANE_MS
    wrong = [value for value in values if not low <= value <= high]  # NaN is never within
    if wrong or not values:
        raise ValueError(f"{wrong[0]} ms is no latency" if wrong else "there are no figures")
    return values


@cache
def _median_rank(count: int, confidence: float) -> tuple[int, float]:
    """Return k and the confidence of the interval between the k-th smallest and the k-th largest of `count` figures."""
    rank, missed = 1, 2 * 0.5**count
    while (more := missed + 2 * (math.comb(count, rank) / 2**count)) <= 1 - confidence:
        rank, missed = rank + 1, more
    return rank, 1 - missed


def _z(confidence: float) -> float:
    """Return how many standard deviations a normal distribution's central interval reaches to each side."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _verdict(interval: Interval) -> Verdict:
    """Return what an interval of log-ratios says."""
    if interval.confidence < CONFIDENCE:
        return "inconclusive"
    if interval.high < 0:
        return "faster"
    return "slower" if interval.low > 0 else "inconclusive"


def _rounds_to_settle(middle: float, interval: Interval, rounds: int) -> int | None:
    fewest = max(MIN_ROUNDS - rounds, 1)
    if rounds == 1:  # one figure says nothing of the spread
        return fewest
    error = (interval.high - interval.low) / (2 * _z(interval.confidence))
    distance = abs(middle)
    needed = _z(CONFIDENCE) + NormalDist().inv_cdf(POWER)
    if needed * error > distance * math.sqrt((MOST_ROUNDS + rounds) / rounds):
        return None
    if error == 0:  # all rounds alike
        return fewest if rounds < MIN_ROUNDS else None
    return max(math.ceil(rounds * (needed * error / distance) ** 2) - rounds, fewest)


def _explanation(verdict: Verdict, rounds: int, more: int | None) -> str:
    if verdict != "inconclusive":
        return "the interval excludes 1"
    if rounds < MIN_ROUNDS:
        return f"{rounds} round{'s have' if rounds > 1 else ' has'} no 95 % interval; {MIN_ROUNDS} do"
    if more is None:
        return f"the interval holds 1, and {MOST_ROUNDS} more rounds would not settle it: practically no difference"
    return f"the interval holds 1; about {more} more round{'' if more == 1 else 's'} would settle it"
