"""Whether a run of benchmark_model is valid.

The tool goes on with flags that it does not know, falls back to the CPU when a delegate takes nothing, and ends
with status 0 either way. So a run is valid only where everything says that it was whole, and the one that was asked
for. (That its output arrived whole is the workspace's to see: it raises where the device went away.)
"""

from __future__ import annotations

import signal

from mobilekit.bench.output import Delegate, Output, Timing, agrees

_WITHOUT = "run without it, or take a model that it supports"
_LONGEST_QUOTE = 200
_GENERIC = ("Benchmarking failed", "usage:")
_SIGNAL_HINTS = {
    "SIGKILL": "the device may be out of memory: close apps, or take a smaller model",
    "SIGILL": "the binary has instructions that this processor lacks: take the one for its ABI",
    "SIGSEGV": "take another version of benchmark_model, and leave out delegates whose library is not on the device",
    "SIGTERM": "something ended it from outside: run again",
}
# What the tool or a shell says, and what helps.
_HINTS = {
    "Could not open": "check that the file is on the device and may be read",
    "not a valid Flatbuffer": "check that the file is a whole TFLite model, with `mobilekit inspect`",
    "find op for builtin opcode": "the tool is older than the file: take a newer benchmark_model",
    "Failed to parse flag": "correct the flag's value",
    "CANNOT LINK": "push the library that is missing, or take a benchmark_model that is linked statically",
    "shared libraries": "bring the library that is missing, or take a benchmark_model that is linked statically",
    "Permission denied": "keep the binary where programs may run, as /data/local/tmp, and let it be executable",
    "Exec format": "the binary is for another ABI: take the one that `mobilekit devices` names",
    "not executable": "the binary is for another ABI: take the one that `mobilekit devices` names",
}


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
    if exit_code == 0:
        return f"benchmark_model failed{said}; {_hint(words)}." if output.failed else None
    if name := _signal_name(exit_code):
        hint = _SIGNAL_HINTS.get(name, "take another version of benchmark_model")
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
    errors = [error for error in output.errors if not error.startswith(_GENERIC)] or list(output.errors)
    words = errors[0] if errors else ""
    return words if len(words) <= _LONGEST_QUOTE else f"{words[:_LONGEST_QUOTE]}…"


def _hint(words: str, otherwise: str = "run it by hand to see all that it says") -> str:
    return next((hint for part, hint in _HINTS.items() if part in words), otherwise)


def _signal_name(exit_code: int) -> str | None:
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _of_request(output: Output, graph: str) -> str | None:
    if output.unconsumed:
        flags = " ".join(output.unconsumed)
        return f"This benchmark_model does not know {flags}, and ran without; leave it out, or take a newer build."
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


def _is_possible(timing: Timing) -> bool:
    """Say whether the figures can be of one series of runs; the mean may be rounded at its sixth digit."""
    low, mean, high = timing.min, timing.mean, timing.max
    if low is None or mean is None or high is None or timing.first is None or timing.current is None:
        return False
    inside = [timing.first, timing.current, timing.p5, timing.median, timing.p95]
    return (
        low >= 0
        and low * (1 - 1e-5) <= mean <= high * (1 + 1e-5)
        and all(low <= figure <= high for figure in inside if figure is not None)
    )
