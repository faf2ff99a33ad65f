"""Whether a run of benchmark_model is valid.

The tool goes on with flags that it does not know, falls back to the CPU when a delegate takes nothing, and ends
with status 0 either way. So a run is valid only where everything says that it was whole, and the one that was asked
for. (That its output arrived whole is the workspace's to see: it raises where the device went away.)
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping

from mobilekit.bench import tool_words
from mobilekit.bench.output import Output, Timing, agrees
from mobilekit.bench.output_delegates import Delegate

_WITHOUT = "run without it, or take a model that it supports"
_LONGEST_QUOTE = 200
_MOST_MB = 1 << 20  # a TiB, more than any device that runs this has


def rejection_reason(output: Output, *, exit_code: int, graph: str, wanted_delegate: str | None = None) -> str | None:
    """Return why a run is not valid, in one sentence with what to do next; None if it is.

    Args:
        output: What the tool printed.
        exit_code: Its exit status; above 128, or negative, for a signal.
        graph: The path that was given to the tool.
        wanted_delegate: The delegate that must run at least a part of the graph.
    """
    return (
        _of_failed_delegate(output)
        or _of_exit(output, exit_code)
        or _of_request(output, graph)
        or _of_idle_delegate(output.delegates, wanted_delegate)
        or _of_results(output)
        or _of_impossible_figures(output)
    )


def _of_failed_delegate(output: Output) -> str | None:
    failed = next((delegate.name for delegate in output.delegates if delegate.extent == "failed"), None)
    if failed is None:
        return None
    said = f"Failed to apply {failed} delegate"
    words = _last_words(output)
    cause = "" if not words or words.startswith(said) else f' after "{words}"'
    return f'benchmark_model says "{said}"{cause}; {_WITHOUT}.'


def _of_idle_delegate(delegates: tuple[Delegate, ...], wanted: str | None) -> str | None:
    wanted = (wanted or "").upper()
    for delegate in delegates:
        if delegate.extent == "not" and (delegate.explicit or delegate.name == wanted):
            return (
                f'benchmark_model says that the graph "will not be executed by the delegate" {delegate.name}, '
                f"so another processor ran it; {_WITHOUT}."
            )
    if wanted and wanted not in {delegate.name for delegate in delegates if delegate.extent != "created"}:
        return f"benchmark_model does not say that {wanted} ran any of the graph; take a build that has this delegate."
    return None


def _of_exit(output: Output, exit_code: int) -> str | None:
    words = _last_words(output)
    said = f', saying "{words}"' if words else ""
    if exit_code and tool_words.PINNING in words:
        hint = _hint(words, "name other cores with --cpus, or leave it out", tool_words.PINNING_HINTS)
        return f"taskset could not pin benchmark_model to these cores (exit status {exit_code}){said}; {hint}."
    if exit_code == 0:
        return f"benchmark_model failed{said}; {_hint(words)}." if output.failed else None
    if name := _signal_name(exit_code):
        hint = tool_words.SIGNAL_HINTS.get(name, "take another version of benchmark_model")
        return f"benchmark_model was ended by {name} (exit status {exit_code}){said}; {hint}."
    if exit_code == 126:
        hint = _hint(words, "check that the binary is for this device's ABI and executable")
        return f"benchmark_model cannot be run (exit status 126){said}; {hint}."
    if exit_code == 127:
        hint = _hint(words, "check its path, and that the libraries it needs are there")
        return f"benchmark_model was not found (exit status 127){said}; {hint}."
    return f"benchmark_model ended with exit status {exit_code}{said}; {_hint(words)}."


def _last_words(output: Output) -> str:
    """Return the first error, which names the cause of those after it."""
    errors = [error for error in output.errors if not error.startswith(tool_words.GENERIC)] or list(output.errors)
    words = errors[0] if errors else ""
    return words if len(words) <= _LONGEST_QUOTE else f"{words[:_LONGEST_QUOTE]}…"


def _hint(
    words: str,
    otherwise: str = "run it by hand to see all that it says",
    hints: Mapping[str, str] = tool_words.HINTS,
) -> str:
    return next((hint for part, hint in hints.items() if part in words), otherwise)


def _signal_name(exit_code: int) -> str | None:
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _of_request(output: Output, graph: str) -> str | None:
    if output.unconsumed:
        flags = " ".join(output.unconsumed)
        hints = (hint for start, hint in tool_words.FLAG_HINTS.items() if f"--{start}" in flags)
        return f"This benchmark_model does not know {flags}, and ran without; {next(hints, 'leave it out')}."
    if len(output.graphs) > 1:
        return f"This is the text of {len(output.graphs)} runs, not of one; run one model, once."
    if output.graph is None:
        return "benchmark_model does not say which model it ran; take another build of it."
    if output.graph != graph:
        return f"benchmark_model ran {output.graph} instead of {graph}; check the flags, and run again."
    return None


def _of_results(output: Output) -> str | None:
    measured, summary = output.measured, output.summary
    again = "run again, with another build if that does not help"
    if measured is None:
        return f"benchmark_model printed no result; {again}."
    if measured.count == 0:
        return "benchmark_model measured no run; leave out --dry_run, and ask for at least one run."
    if output.result_lines != 2:  # the warm-up's, and the measured runs'
        return f"The number of result lines is {output.result_lines}, where one run has 2; run one model, once."
    if summary is None:
        return f'benchmark_model printed no "Inference timings"; {again}.'
    warmup_mean = output.warmup.mean if output.warmup else None
    if (
        not _is_possible(measured)
        or not agrees(measured.mean, summary.inference_us, summary.resolution_us)
        or (warmup_mean is not None and not agrees(warmup_mean, summary.warmup_us, summary.resolution_us))
    ):
        return f"The figures that benchmark_model printed contradict each other, or lack some; {again}."
    return None


def _of_impossible_figures(output: Output) -> str | None:
    """Name the first figure that no run can have."""
    what = next(_impossible(output), None)
    return (
        f"benchmark_model printed what cannot be: {what}; run again, with another build if that stays."
        if what
        else None
    )


def _impossible(output: Output) -> Iterator[str]:
    summary, memory = output.summary, output.memory
    times = {
        "initialization": output.init_us,
        "first inference": output.first_inference_us,
        "warm-up": summary.warmup_us if summary else None,
    }
    yield from (f"a time of {us:g} us for the {name}" for name, us in times.items() if us is not None and us < 0)
    for name, mb in vars(memory).items():
        if mb is not None and not 0 <= mb <= _MOST_MB:
            yield f"{mb:g} MB of memory ({name.removesuffix('_mb')})"
    if output.warmup and output.warmup.count and not _is_possible(output.warmup):
        yield "figures of the warm-up that contradict each other"
    for delegate in output.delegates:
        if None not in (delegate.replaced, delegate.total) and (delegate.replaced or 0) > (delegate.total or 0):
            yield f"{delegate.name} took {delegate.replaced} of {delegate.total} ops"


def _is_possible(timing: Timing) -> bool:
    """Say whether the figures can be of one series of runs; the mean may be rounded at its sixth digit."""
    low, mean, high = timing.min, timing.mean, timing.max
    if low is None or mean is None or high is None or timing.first is None or timing.current is None:
        return False
    inside = [timing.first, timing.current, timing.p5, timing.median, timing.p95]
    percentiles = [figure for figure in (timing.p5, timing.median, timing.p95) if figure is not None]
    return (
        low >= 0
        and low * (1 - 1e-5) <= mean <= high * (1 + 1e-5)
        and all(low <= figure <= high for figure in inside if figure is not None)
        and percentiles == sorted(percentiles)
        and (timing.count > 1 or low == high)
    )
