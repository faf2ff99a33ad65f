"""Verdicts as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

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


def bench_junit(contents: Sequence[dict[str, Any]]) -> str:
    """Return the verdicts of a bench: each file's run, its baseline and its budgets."""
    return to_junit(case for content in contents for case in _bench_cases(content))


def _bench_cases(content: dict[str, Any]) -> Iterable[Case]:
    suite = f"bench {content['device']['name']}"
    for result in content["results"]:
        figures = result["latency_ms"]
        shown = f"median {figures['median']:.6g} ms, {figures['low']:.6g} .. {figures['high']:.6g}" if figures else ""
        yield Case(suite, f"{result['file']}: runs", None if result["accepted"] else result["why_not"], output=shown)
    for row in content.get("baseline") or ():
        ratio = "" if row["ratio"] is None else f"now / then {row['ratio']:.6g}, {row['low']:.6g} .. {row['high']:.6g}"
        failure = row["why"] if row["verdict"] == "regressed" else None
        skipped = None if row["verdict"] in ("regressed", "improved", "same") else f"{row['verdict']}: {row['why']}"
        yield Case(suite, f"{row['file']}: against the baseline", failure, skipped, ratio)
    for row in content.get("budgets") or ():
        failure = f"{row['why']} ({row['figure']:.6g} > {row['limit']:g})" if row["verdict"] == "fail" else None
        skipped = row["why"] if row["verdict"] == "inconclusive" else None
        yield Case(suite, f"{row['file']}: {row['limited']} <= {row['limit']:g}", failure, skipped)


def diff_junit(ledger: dict[str, Any], name: str) -> str:
    """Return the verdicts of a ledger: one test for each stage, what it is compared with, and output."""
    return to_junit(_diff_cases(ledger, f"diff {name}"))


_DIFF_FIGURES = ("max_abs", "relative_l2", "cosine", "top1_agreement", "topk_agreement", "top1", "float64_ulps")


def _diff_cases(ledger: dict[str, Any], suite: str) -> Iterable[Case]:
    from mobilekit.cli.render.baseline import place
    from mobilekit.cli.render.terminal import gate_line, misses

    for gate in ledger.get("gates", ()):
        failure = None if gate["verdict"] == "pass" else gate_line(gate)
        yield Case(suite, f"{gate['artifact']}: {gate['gate']}", failure, output=f"{gate['value']:g}")
    for row in ledger["stages"]:
        name = f"{row['stage']} against {row['against']} ({row['output']})"
        figures = {key: row.get(key) for key in _DIFF_FIGURES}
        shown = ", ".join(f"{key} {value:.6g}" for key, value in figures.items() if value is not None)
        yield Case(suite, name, None if row["verdict"] == "pass" else misses(row), output=shown)
    for row in (ledger.get("baseline") or {}).get("stages", ()):
        failure = f"relative L2 {row['why']}" if row["verdict"] == "regressed" else None
        skipped = f"{row['verdict']}: {row['why']}" if row["verdict"] in ("new", "missing") else None
        yield Case(f"{suite}: against the baseline", place(row), failure, skipped)
