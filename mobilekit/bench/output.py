"""What benchmark_model printed: TensorFlow Lite's from 2018 until today, and LiteRT's tool of the same name.

A figure is taken only where it stands whole in the text; what a version does not print is None. Lines may carry
any prefix: a log level, a source file, Android's logcat.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mobilekit.bench.output_delegates import Delegate, read_delegates
from mobilekit.bench.output_lines import (
    either,
    read_count,
    read_figure,
    read_milliseconds,
    split_lines,
    statement,
    strip_prefix,
)
from mobilekit.bench.tool_words import NO_TROUBLE, TROUBLE

_ERROR_LEVELS = {"E", "F", "ERROR", "FATAL"}


@dataclass(frozen=True)
class Timing:
    """A line of statistics over the runs of one phase, in microseconds.

    Where the tool says that all runs took the same time, or made one run, that time is `first`, `min`, `max` and
    `mean` as well. The percentiles are order statistics, and only newer versions print them.
    """

    count: int
    first: float | None = None
    current: float | None = None
    """Of the last run."""
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    """Six significant digits, unless there was one run."""
    std: float | None = None
    p5: float | None = None
    median: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class Summary:
    """The tool's closing lines, in microseconds."""

    resolution_us: float
    """How far rounding may have moved them, besides six significant digits: LiteRT's tool prints 0.01 ms."""
    init_us: float | None
    first_inference_us: float | None
    warmup_us: float | None
    """Mean of the warm-up."""
    inference_us: float | None
    """Mean of the measured runs."""


@dataclass(frozen=True)
class Memory:
    """What the process took, in MB of 2**20 bytes."""

    init_mb: float | None
    """Its growth until the model was ready, ..."""
    overall_mb: float | None
    """... and until the end."""
    peak_mb: float | None
    """The most it held at one time, where the tool was asked to watch that."""


@dataclass(frozen=True)
class Output:
    """All that is known from the output of one run of the tool. None, or empty: it did not say."""

    graph: str | None
    graphs: tuple[str, ...]
    """The graph of each run that the text has; more than one are of several runs."""
    requested_runs: int | None
    """At least so many measured runs were asked for."""
    warmup: Timing | None
    measured: Timing | None
    result_lines: int
    """Lines of statistics: two in a whole run; more are of several runs, of which the first is given here."""
    init_us: float | None
    first_inference_us: float | None
    summary: Summary | None
    memory: Memory
    delegates: tuple[Delegate, ...]
    unconsumed: tuple[str, ...]
    """Flags that this tool does not know, and ran without."""
    errors: tuple[str, ...]
    failed: bool
    """It said "Benchmarking failed"."""
    model_mb: float | None
    """Size of the file in MB of 10**6 bytes."""


_STATISTICS = re.compile(r"(?:^|[\s:>|\]])(count=[0-9]+(?:\(all same\)|[\s\w.=+-])*)$")
_OF_A_PROFILE = re.compile(r"(?:Timings|Memory) \(\w+\):")
_KEYS = {"first": "first", "curr": "current", "min": "min", "max": "max", "avg": "mean", "std": "std"}
_PERCENTILES = {"p5": "p5", "median": "median", "p95": "p95"}
_SHAPES = [
    [*keys, *percentiles] for keys in (["curr"], [*_KEYS]) for percentiles in ([], [*_PERCENTILES])
]  # of a whole line

# The groups' names are fields; what is found under one name is kept in the order of the text.
_STATEMENTS = tuple(
    statement(pattern)
    for pattern in (
        r"Graph: \[(?P<graph>.+)\]",
        r"Loading model from: (?P<loading>\S.*?)",
        r"Min num runs: \[(?P<min_runs=X>)\]",
        r"Running benchmark for (?:at least )?(?P<iterations=X>) iterations\b.*",
        r"Initialized session in (?P<session_ms=X>) ?ms\.?",
        r"The input model file size \(MB\): (?P<model_mb=X>)",
        r"Inference timings in us: Init: (?P<init=X>), First inference: (?P<first=X>), "
        r"Warmup \(avg\): (?P<warmup=X>), Inference \(avg\): (?P<inference=X>)",
        r"Average inference timings in us: Warmup: (?P<warmup=X>), Init: (?P<init=X>), "
        r"(?:Inference|no stats): (?P<inference=X>)",
        r"Model initialization: +(?P<init_ms=X>) ms",
        r"Warmup \(first\): +(?P<first_ms=X>) ms",
        r"Warmup \(avg\): +(?P<warmup_ms=X>) ms \([0-9]+ runs\)",
        r"Inference \(avg\): +(?P<inference_ms=X>) ms \([0-9]+ runs\)",
        r"Peak memory footprint \(MB\): init=(?P<init_mb=X>) overall=(?P<overall_mb=X>)",
        r"Memory footprint delta from the start of the tool \(MB\): init=(?P<init_mb=X>) overall=(?P<overall_mb=X>)",
        r"Overall peak memory footprint \(MB\) via periodic monitoring: (?P<peak_mb=X>)",
        r"Init footprint: +(?P<init_mb=X>) MB",
        r"Overall footprint: +(?P<overall_mb=X>) MB",
        r"Peak memory: +(?P<peak_mb=X>) MB",
        r"Unconsumed cmdline flags: (?P<unconsumed>.*\S)",
    )
)


def parse_output(stdout: str, stderr: str = "") -> Output:
    """Read what one run of benchmark_model printed; never raises.

    Args:
        stdout: The tool's results.
        stderr: Its errors. Where both came in one stream, or from logcat, give that as `stdout`.
    """
    lines = [*split_lines(stdout), *split_lines(stderr)]
    found = _collect(lines)
    timings = _read_timings(lines)
    summary = _summary(found)
    warmup, measured = _phases(timings, summary)
    exact = summary if summary and summary.resolution_us == 0 else None
    return Output(
        graph=_first(found, "graph") or _first(found, "loading"),
        graphs=tuple(found.get("graph") or found.get("loading") or ()),
        requested_runs=_requested_runs(found),
        warmup=warmup,
        measured=measured,
        result_lines=len(timings),
        init_us=either(exact.init_us if exact else None, read_milliseconds(_first(found, "session_ms"))),
        first_inference_us=either(exact.first_inference_us if exact else None, warmup.first if warmup else None),
        summary=summary,
        memory=Memory(*(read_figure(_first(found, key)) for key in ("init_mb", "overall_mb", "peak_mb"))),
        delegates=read_delegates(lines),
        unconsumed=tuple(flag for line in found.get("unconsumed", []) for flag in re.split(r"\s+(?=--)", line)),
        errors=_read_errors(lines),
        failed=any("Benchmarking failed" in line for line in lines),
        model_mb=read_figure(_first(found, "model_mb")),
    )


def _collect(lines: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        for each in _STATEMENTS:
            if match := each.search(line):
                for name, word in match.groupdict().items():
                    found.setdefault(name, []).append(word)
    return found


def _first(found: dict[str, list[str]], name: str) -> str | None:
    return next(iter(found.get(name, [])), None)


def _requested_runs(found: dict[str, list[str]]) -> int | None:
    phases = found.get("iterations", [])  # the warm-up's, then the measured runs'
    return read_count(phases[1] if len(phases) > 1 else _first(found, "min_runs"))


def _read_timings(lines: Sequence[str]) -> list[Timing]:
    """Return the lines of statistics; those that end a profile are of another clock."""
    matches = (_STATISTICS.search(line) for line in lines if not _OF_A_PROFILE.search(line))
    timings = (_read_timing(match[1]) for match in matches if match)
    return [timing for timing in timings if timing]


def _read_timing(text: str) -> Timing | None:
    words = [word.partition("=") for word in text.replace("(all same)", "").split()]
    count = read_count(words[0][2])
    if count is None:
        return None
    if [key for key, _, _ in words[1:]] not in _SHAPES:
        words = words[:-1]  # the line is cut, perhaps inside this figure
    figures = {key: read_figure(word) for key, _, word in words[1:]}
    if (figures.get("std") or 0) < 0:  # the root of a rounding error below 0, as a whole number: not known
        figures["std"] = None
    timing = Timing(count, **{field: figures.get(key) for key, field in (_KEYS | _PERCENTILES).items()})
    if "first" not in figures and (count == 1 or "(all same)" in text):
        same = timing.current
        timing = replace(timing, first=same, min=same, max=same, mean=same)
    return timing


def _summary(found: dict[str, list[str]]) -> Summary | None:
    keys = ("init", "first", "warmup", "inference")
    if "inference" in found:
        return Summary(0, *(read_figure(_first(found, key)) for key in keys))
    if "inference_ms" in found:
        return Summary(5, *(read_milliseconds(_first(found, f"{key}_ms")) for key in keys))
    return None


def agrees(mean: float | None, other: float | None, resolution_us: float) -> bool:
    """Say whether two figures are the same one, each rounded to six significant digits or to a resolution."""
    return mean is not None and other is not None and math.isclose(mean, other, rel_tol=1e-5, abs_tol=resolution_us)


def _phases(timings: Sequence[Timing], summary: Summary | None) -> tuple[Timing | None, Timing | None]:
    """Return the warm-up and the measured runs: the first and the second line; excerpts may lack the first."""
    if len(timings) == 1 and summary:
        only, resolution = timings[0], summary.resolution_us
        is_measured = agrees(only.mean, summary.inference_us, resolution)
        if is_measured and not agrees(only.mean, summary.warmup_us, resolution):
            return None, only
    warmup, measured, *_ = (*timings, None, None)
    return warmup, measured


def _read_errors(lines: Sequence[str]) -> tuple[str, ...]:
    messages = [strip_prefix(line) for line in lines]
    return tuple(
        message.strip()
        for level, message in messages
        if message.strip() and (level in _ERROR_LEVELS or (not level and _is_trouble(message)))
    )


def _is_trouble(message: str) -> bool:
    return bool(TROUBLE.search(message)) and not NO_TROUBLE.search(message)
