"""What benchmark_model printed: TensorFlow Lite's from 2018 until today, and LiteRT's tool of the same name.

A figure is taken only where it stands whole in the text; what a version does not print is None. Lines may carry
any prefix: a log level, a source file, Android's logcat.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TypeVar

from mobilekit.bench.tool_words import GPU_INTERFACES, NO_TROUBLE, NPU_DELEGATE, TROUBLE

_Number = TypeVar("_Number", int, float)
Extent = Literal["completely", "partially", "not", "failed", "applied", "created"]

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
class Delegate:
    """What became of a delegate."""

    name: str
    """In upper case: XNNPACK, GPU, NNAPI, EXTERNAL."""
    extent: Extent
    """How much of the graph it runs. `applied`, `created`: the tool does not say how much."""
    explicit: bool = False
    """The tool was asked for it; newer builds add XNNPACK by themselves."""
    kernels: int | None = None
    partitions: int | None = None
    replaced: int | None = None
    """How many of the graph's nodes it took, ..."""
    total: int | None = None
    """... and of how many that it was offered."""
    interface: str | None = None
    """Of a GPU: `OpenCL`, `OpenGL`, `Vulkan`, ...; the same GPU may be several times as quick through one as through
    another."""


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


def _said(pattern: str) -> re.Pattern[str]:
    """Compile a statement of the tool that ends a line, after any prefix; X stands for a figure."""
    return re.compile(r"(?:^|[\s:>|\]])" + pattern.replace("=X>", r">[-+.\w]+") + r"\s*$")


_STATISTICS = re.compile(r"(?:^|[\s:>|\]])(count=[0-9]+(?:\(all same\)|[\s\w.=+-])*)$")
_OF_A_PROFILE = re.compile(r"(?:Timings|Memory) \(\w+\):")
_KEYS = {"first": "first", "curr": "current", "min": "min", "max": "max", "avg": "mean", "std": "std"}
_PERCENTILES = {"p5": "p5", "median": "median", "p95": "p95"}
_SHAPES = [
    [*keys, *percentiles] for keys in (["curr"], [*_KEYS]) for percentiles in ([], [*_PERCENTILES])
]  # of a whole line

# The groups' names are fields; what is found under one name is kept in the order of the text.
_STATEMENTS = tuple(
    _said(pattern)
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
_DELEGATE_STATEMENTS = tuple(
    _said(pattern)
    for pattern in (
        r"Created TensorFlow Lite (?:delegate for )?(?P<name>[\w-]+)(?: delegate for CPU)?\.",
        r"(?P<name>[\w-]+) delegate created\.",
        r"Initialized (?P<interface>Open[CG]L|Vulkan)-based API(?: from serialized data)?\.?",
        r"Replacing (?P<replaced=X>) (?:out of (?P<total=X>) )?node\(s\) with delegate \((?P<name>[^()]+)\) node"
        r"(?:, yielding (?P<partitions=X>) partitions\b.*)?",
        r"(?:Explicitly )?[Aa]pplied (?P<name>[\w-]+) delegate(?:, and the model graph will be (?P<extent>completely|"
        r"partially|paritally) executed (?:by|w/) the delegate(?: w/ (?P<kernels=X>) delegate kernels)?)?\.",
        r"Though (?P<name>[\w-]+) delegate is (?:explicitly )?applied, the model graph will (?P<extent>not) be "
        r"executed (?:by|w/) the delegate\.?",
        r"(?P<extent>Failed) to apply (?P<name>[\w-]+) delegate\.?",
    )
)
_LIBRARY_NAME = re.compile(r"TfLite(\w+?)Delegate(?:V\d+)?")
_LITERT_GPU = "LITERT_"


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
        init_us=_either(exact.init_us if exact else None, read_milliseconds(_first(found, "session_ms"))),
        first_inference_us=_either(exact.first_inference_us if exact else None, warmup.first if warmup else None),
        summary=summary,
        memory=Memory(*(read_figure(_first(found, key)) for key in ("init_mb", "overall_mb", "peak_mb"))),
        delegates=_read_delegates(lines),
        unconsumed=tuple(flag for line in found.get("unconsumed", []) for flag in re.split(r"\s+(?=--)", line)),
        errors=_read_errors(lines),
        failed=any("Benchmarking failed" in line for line in lines),
        model_mb=read_figure(_first(found, "model_mb")),
    )


def _collect(lines: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        for statement in _STATEMENTS:
            if match := statement.search(line):
                for name, word in match.groupdict().items():
                    found.setdefault(name, []).append(word)
    return found


def _first(found: dict[str, list[str]], name: str) -> str | None:
    return next(iter(found.get(name, [])), None)


def _either(value: _Number | None, otherwise: _Number | None) -> _Number | None:
    return otherwise if value is None else value


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


def _read_delegates(lines: Sequence[str]) -> tuple[Delegate, ...]:
    """Return each delegate once, with the last word on how much it runs, and the first on what it replaced."""
    delegates: dict[str, Delegate] = {}
    for line in lines:
        for statement in _DELEGATE_STATEMENTS:
            if match := statement.search(line):
                new = _delegate(match.groupdict())
                delegates[new.name] = _merge(delegates.get(new.name), new)
                break
    return tuple(delegates.values())


def _delegate(said: dict[str, str | None]) -> Delegate:
    name = said.get("name") or "GPU"  # only GPUs have an interface that is told without a name
    interface = said.get("interface") or GPU_INTERFACES.get(name)
    if library := _LIBRARY_NAME.fullmatch(name):
        name = library[1]
    elif name.startswith(_LITERT_GPU):
        name = "GPU"
    elif name == NPU_DELEGATE:
        name = "NPU"
    figures = {key: read_count(said.get(key)) for key in ("kernels", "partitions", "replaced", "total")}
    extents: dict[str | None, Extent] = {
        "completely": "completely",
        "partially": "partially",
        "paritally": "partially",  # as some versions spell it
        "not": "not",
        "Failed": "failed",
    }
    explicit = "extent" in said
    extent: Extent = extents.get(said.get("extent"), "applied" if explicit else "created")
    if "replaced" in said:
        extent = _extent_of(figures["replaced"], figures["total"], figures["partitions"])
    return Delegate(name.upper(), extent, explicit, **figures, interface=interface)


def _extent_of(replaced: int | None, total: int | None, partitions: int | None) -> Extent:
    if replaced == 0:
        return "not"
    if replaced is None or total is None:
        return "applied"
    return "completely" if replaced == total and partitions in (None, 1) else "partially"


def _merge(old: Delegate | None, new: Delegate) -> Delegate:
    if old is None:
        return new
    vague = ("created", "applied")
    # What was replaced in a second subgraph says nothing of the graph.
    says_less = new.extent == "created" or (
        old.extent not in vague and (new.extent in vague or new.replaced is not None)
    )
    return Delegate(
        name=old.name,
        extent=old.extent if says_less else new.extent,
        explicit=old.explicit or new.explicit,
        kernels=_either(old.kernels, new.kernels),
        partitions=_either(old.partitions, new.partitions),
        replaced=_either(old.replaced, new.replaced),
        total=_either(old.total, new.total),
        interface=new.interface or old.interface,  # the last, as OpenGL is where OpenCL failed
    )


def _read_errors(lines: Sequence[str]) -> tuple[str, ...]:
    messages = [strip_prefix(line) for line in lines]
    return tuple(
        message.strip()
        for level, message in messages
        if message.strip() and (level in _ERROR_LEVELS or (not level and _is_trouble(message)))
    )


def _is_trouble(message: str) -> bool:
    return bool(TROUBLE.search(message)) and not NO_TROUBLE.search(message)
