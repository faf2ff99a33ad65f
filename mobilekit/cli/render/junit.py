"""Verdicts as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from mobilekit.bench.instructions.result import CountResult
from mobilekit.bench.result import BenchResult
from mobilekit.bench.verdicts import BudgetVerdict
from mobilekit.cli.render.bench import interval_words

# What XML 1.0 cannot hold (section 2.2).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One verdict as a test."""

    suite: str
    name: str
    failure: str | None
    """Why it failed; None where it passed."""
    skipped: str | None = None
    """Why nothing can be said."""
    output: str = ""


def to_junit(cases: Iterable[Case]) -> str:
    """Return a JUnit file of one suite for each suite's name."""
    suites: dict[str, list[Case]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    everything = [case for members in suites.values() for case in members]
    root = ElementTree.Element("testsuites", {"name": "mobilekit", **_counts(everything)})
    for name, members in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **_counts(members)})
        for case in members:
            _add(suite, case)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    counts = {
        "tests": len(cases),
        "failures": sum(case.failure is not None for case in cases),
        "skipped": sum(case.failure is None and case.skipped is not None for case in cases),
        "errors": 0,
    }
    return {key: str(value) for key, value in counts.items()}


def _add(suite: ElementTree.Element, case: Case) -> None:
    element = ElementTree.SubElement(suite, "testcase", classname=_clean(case.suite), name=_clean(case.name))
    if case.failure is not None:
        ElementTree.SubElement(element, "failure", message=_clean(case.failure))
    elif case.skipped is not None:
        ElementTree.SubElement(element, "skipped", message=_clean(case.skipped))
    if case.output:
        ElementTree.SubElement(element, "system-out").text = _clean(case.output)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", text)


def bench_junit(benches: Sequence[BenchResult]) -> str:
    """Return the verdicts of a bench: each file's run, its baseline and its budgets."""
    return to_junit(case for bench in benches for case in _bench_cases(bench))


def _bench_cases(bench: BenchResult) -> Iterable[Case]:
    suite = f"bench {bench.device.name}"
    for each in bench.results:
        latency = each.latency_ms
        shown = (
            f"median {latency.median:.6g} ms, 95 % interval: {interval_words(latency, '{:.6g}'.format)}"
            if latency
            else ""
        )
        yield Case(suite, f"{each.file}: runs", None if each.accepted else each.why_not, output=shown)
    for change in bench.baseline or ():
        failure = change.why if change.verdict == "regressed" else None
        is_told = change.verdict in ("regressed", "improved", "same")
        skipped = None if is_told else f"{change.verdict}: {change.why}"
        ratio = ""
        if change.ratio is not None:
            ratio = f"now / then {change.ratio:.6g}, 95 % interval: {interval_words(change, '{:.6g}'.format)}"
        yield Case(suite, f"{change.file}: against the baseline", failure, skipped, ratio)
    yield from _budget_cases(suite, bench.budgets or ())


def _budget_cases(suite: str, budgets: Sequence[BudgetVerdict]) -> Iterable[Case]:
    for row in budgets:
        failure = f"{row.why} ({row.figure:.10g} > {row.limit:.10g})" if row.verdict == "fail" else None
        skipped = row.why if row.verdict == "inconclusive" else None
        yield Case(suite, f"{row.file}: {row.what} <= {row.limit:.10g}", failure, skipped)


def count_junit(count: CountResult) -> str:
    """Return the verdicts of a count: each file's, its baseline and its budgets."""
    return to_junit(_count_cases(count))


def _count_cases(count: CountResult) -> Iterable[Case]:
    suite = f"instructions on {count.core.model}"
    versions = f"LiteRT {count.litert}, qemu {count.qemu}"
    for each in count.results:
        shown = f"{each.count.instructions} instructions, {versions}" if each.count else ""
        yield Case(suite, f"{each.file}: counted", None if each.accepted else each.why_not, output=shown)
    for change in count.baseline or ():
        failure = change.why if change.verdict == "regressed" else None
        is_told = change.verdict in ("regressed", "improved", "same")
        skipped = None if is_told else f"{change.verdict}: {change.why}"
        kernels = [f"{kernels} ({number})" for kernels, number in change.kernels.items()]
        figures = [f"{change.then} -> {change.now} instructions"] if is_told else []
        output = "; ".join([*figures, *kernels])
        yield Case(suite, f"{change.file}: {change.part} against the baseline", failure, skipped, output)
    yield from _budget_cases(suite, count.budgets or ())
