"""The lines that benchmark_model prints: their prefixes, and the figures and statements in them."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TypeVar

_Number = TypeVar("_Number", int, float)

_FIGURE = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_COUNT = re.compile(r"[0-9]{1,15}")
_COLORS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CUT_FIGURE = re.compile(r"[0-9][0-9.eE+-]*$")
_PREFIXES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:\d[^A-Z]*)?(?P<level>[VDIWEF])[ /][\w.]+ *(?:\( *\d+\))?: ",  # logcat: brief, tag, time, threadtime
        r"(?P<level>[IWEF])\d{4} [\d:.]+ +\d+ \S+:\d+\] ",  # absl
        r"(?P<level>INFO|WARN|WARNING|ERROR|VERBOSE|DEBUG|FATAL): ",
        r"\[\S+:\d+\] ",  # LiteRT's source file
    )
)


def read_figure(text: str | None) -> float | None:
    """Return the finite number that a word is, or None."""
    if text is None or not _FIGURE.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def read_count(text: str | None) -> int | None:
    """Return the whole number that a word is, or None."""
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def read_milliseconds(text: str | None) -> float | None:
    """Return the microseconds that a number of milliseconds is, exactly, or None."""
    if text is None or read_figure(text) is None:
        return None
    value = float(Decimal(text) * 1000)
    return value if math.isfinite(value) else None


def split_lines(text: str) -> list[str]:
    """Return the lines of a text without colors and carriage returns.

    A last line without an end may be cut in the middle of a figure: one at its very end is left out.
    """
    lines = [_COLORS.sub("", line.rstrip("\r")) for line in text.split("\n")]
    lines[-1] = _CUT_FIGURE.sub("", lines[-1])
    return lines


def strip_prefix(line: str) -> tuple[str, str]:
    """Return the level of a line, or an empty one, and its text without what loggers put before it."""
    level = ""
    while match := next((match for pattern in _PREFIXES if (match := pattern.match(line))), None):
        level = match.groupdict().get("level") or level
        line = line[match.end() :]
    return level, line


def statement(pattern: str) -> re.Pattern[str]:
    """Compile a statement of the tool that ends a line, after any prefix; X stands for a figure."""
    return re.compile(r"(?:^|[\s:>|\]])" + pattern.replace("=X>", r">[-+.\w]+") + r"\s*$")


def either(value: _Number | None, otherwise: _Number | None) -> _Number | None:
    """Return a figure, or another where there is none."""
    return otherwise if value is None else value
