"""How numbers, shares and counts are written, in every rendering."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap

from mobilekit.parity.ledger.result import HIGHER_IS_BETTER, Bound, JudgedBound

WIDTH = 110
NOTHING = "-"
"""What stands for a figure that is not there."""
METRICS = {
    "max_abs": "max abs",
    "relative_l2": "relative L2",
    "cosine": "cosine",
    "top1_agreement": "top-1 agreement",
    "topk_agreement": "top-k agreement",
    "top1": "top-1",
    "max_error_eps": "largest error",
    "equal_labels": "share of equal labels",
}
"""Metrics in words."""
_SHORT = {
    **METRICS,
    "max_abs": "abs",
    "relative_l2": "L2",
    "top1_agreement": "same",
    "max_error_eps": "eps",
    "equal_labels": "same",
}


def figure(value: float | None, form: str = ".1e", nothing: str = NOTHING) -> str:
    """Return a figure, by default an error in two digits; `nothing` for one that is not a finite number."""
    return nothing if value is None or not math.isfinite(value) else format(value, form)


def percent(share: float | None, digits: int = 1, nothing: str = NOTHING) -> str:
    """Return a share in percent, without the sign."""
    return figure(None if share is None else 100 * share, f".{digits}f", nothing)


def count(number: float, noun: str, plural: str = "") -> str:
    """Return a number of things: `1 site`, `3 sites`."""
    shown = f"{number:g}" if isinstance(number, float) else number
    return f"{shown} {noun if number == 1 else plural or f'{noun}s'}"


def some(names: Sequence[str], most: int = 4) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def megabytes(size: int) -> str:
    """Return a size in bytes as `24.71 MB`; one that would be 0.00 MB as `812 bytes`."""
    return f"{size / 1e6:.2f} MB" if size >= 5_000 else f"{size} bytes"


def ms(value: float) -> str:
    """Return a time with three significant digits, the last zeros included."""
    return f"{value:#.3g}".rstrip(".") if value < 100 else f"{value:.0f}"


def millions(number: float) -> str:
    """Return a large number, such as that of multiply-accumulates, as `167.00M`."""
    return f"{number / 1e6:.2f}M"


def instructions(number: float) -> str:
    """Return a number of instructions, in millions where it has that many digits."""
    return millions(number) if number >= 100_000 else f"{number:.0f}"


def metric_value(metric: str, value: float | None) -> str:
    """Return a figure of a metric: shares and cosines as they are, errors with their power of ten."""
    if metric == "max_error_eps":
        words = figure(value, ".3g")
        return words if words == NOTHING else f"{words} eps"
    return figure(value, ".4g" if metric in HIGHER_IS_BETTER else ".1e")


def limit_words(bound: Bound) -> str:
    """Return a limit in words, as `relative L2 <= 3.9e-03`."""
    sign = ">=" if bound.metric in HIGHER_IS_BETTER else "<="
    return f"{METRICS[bound.metric]} {sign} {metric_value(bound.metric, bound.limit)}"


def short_limit(bound: Bound) -> str:
    """Return a limit for a narrow column, as `L2 3.9e-03`."""
    return f"{_SHORT[bound.metric]} {metric_value(bound.metric, bound.limit)}"


def missed_words(limit: JudgedBound) -> str:
    """Say by what a limit was missed."""
    return (
        f"{METRICS[limit.metric]} is {metric_value(limit.metric, limit.value)}, and {limit_words(limit)} is the limit"
    )


def indented(heading: str, lines: list[str]) -> Iterator[str]:
    """Yield lines with a heading beside the first."""
    for number, line in enumerate(lines):
        head = f"{heading if number == 0 else '':13s} "
        yield from wrap(line, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
