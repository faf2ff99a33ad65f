"""A bench and a ledger as JUnit and as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.result import BenchResult
from mobilekit.cli.render import markdown
from mobilekit.cli.render.junit import Case, bench_junit, to_junit
from mobilekit.cli.render.markdown import bench_markdown
from tests.bench.test_session import COOL, HOT, make_artifacts, result_of, steady
from tests.cli.render.test_bench import make_bench, make_gated


@pytest.fixture
def bench(tmp_path: Path) -> BenchResult:
    return make_bench(tmp_path)


@pytest.fixture
def gated(tmp_path: Path) -> BenchResult:
    return make_gated(tmp_path)


# JUnit.


def parse_xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode())  # noqa: S314  (we wrote it)


def check_junit(text: str) -> ElementTree.Element:
    """Check what CI systems rely on (the Jenkins and Surefire schemas have it so), and return the root."""
    root = parse_xml(text)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    assert root.tag == "testsuites"
    totals = dict.fromkeys(("tests", "failures", "skipped", "errors"), 0)
    for suite in root:
        assert suite.tag == "testsuite" and suite.get("name")
        cases = suite.findall("testcase")
        assert len(cases) == len(suite)
        found = {
            "tests": len(cases),
            "failures": len(suite.findall("testcase/failure")),
            "skipped": len(suite.findall("testcase/skipped")),
            "errors": 0,
        }
        assert {key: int(suite.attrib[key]) for key in found} == found
        totals = {key: totals[key] + value for key, value in found.items()}
        for case in cases:
            assert case.get("name") and case.get("classname")
            assert [child.tag for child in case] in (
                [],
                ["failure"],
                ["skipped"],
                ["system-out"],
                ["failure", "system-out"],
                ["skipped", "system-out"],
            )
            assert all(child.get("message") for child in case if child.tag != "system-out")
    assert {key: int(root.attrib[key]) for key in totals} == totals
    return root


def test_junit_has_a_case_for_each_verdict(gated: BenchResult) -> None:
    root = check_junit(bench_junit([gated]))
    (suite,) = root
    assert suite.get("name") == "bench adb:1"
    outcomes = {case.get("name"): case[0].tag if len(case) else "passed" for case in suite}
    assert outcomes == {
        "n/a.tflite: runs": "system-out",
        "n/b.tflite: runs": "system-out",
        "c.tflite: runs": "failure",
        "d.tflite: runs": "system-out",
        "n/a.tflite: against the baseline": "system-out",  # it improved
        "n/b.tflite: against the baseline": "failure",
        "d.tflite: against the baseline": "failure",
        "n/a.tflite: latency_ms <= 15": "passed",
        "n/b.tflite: latency_ms <= 15": "failure",
        "d.tflite: latency_ms <= 40.04": "skipped",
    }
    messages = {case.get("name"): case[0].get("message") for case in suite if len(case)}
    assert messages["c.tflite: runs"] == "It crashed | badly."
    assert messages["n/b.tflite: against the baseline"] == (
        "the interval lies above 1.03; the file is the same, so it is the device or the engine that changed"
    )
    assert messages["n/b.tflite: latency_ms <= 15"] == (
        "the interval of the median, 20.01 to 20.08 ms, lies above the limit (20.045 > 15)"
    )


def test_each_device_is_a_suite(bench: BenchResult) -> None:
    other = replace(bench, device=replace(bench.device, name="adb:2"))
    assert [suite.get("name") for suite in check_junit(bench_junit([bench, other]))] == ["bench adb:1", "bench adb:2"]


@given(st.text(max_size=30), st.text(max_size=30), st.none() | st.text(min_size=1, max_size=30))
def test_junit_holds_any_text(suite: str, name: str, failure: str | None) -> None:
    text = to_junit([Case(f"s{suite}", f"n{name}", None if failure is None else f"f{failure}", output=name)])
    (case,) = check_junit(text)[0]
    kept = [
        each
        for each in name
        if each in "\t\n\r" or " " <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd" or each >= "\U00010000"
    ]
    assert case.get("name") == "n" + "".join(kept)


def test_what_xml_cannot_hold_is_left_out() -> None:
    text = to_junit([Case("s\udce9", "a\x00\x1b[31m\x0b<&>\"'\ufffe\U0001f600", "\x07", "x")])
    (case,) = parse_xml(text)[0]
    assert case.get("name") == "a[31m<&>\"'\U0001f600"


# Markdown.


def tables(text: str) -> list[list[list[str]]]:
    """Read the tables as GitHub does: cells end at a | that no backslash stands before."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)
            found[-1].append([re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_markdown_has_tables_of_equal_width(gated: BenchResult) -> None:
    text = bench_markdown([gated])
    assert text.startswith("## Bench on Phone 5 (arm64-v8a, Android 14)\n\nscript 1, 1 thread, 8 rounds.\n")
    results, comparisons, baseline, budgets = tables(text)
    for table in (results, comparisons, baseline, budgets):
        assert {len(line) for line in table} == {len(table[0])}
        assert table[1] == ["---"] * len(table[0])
    assert results[2] == ["n/a.tflite", "10.0", "10.0 to 10.1", "13.0", "1.00"]
    assert results[4] == ["c.tflite", "❌ refused: It crashed | badly.", "", "", ""]
    assert comparisons[2][:3] == ["n/b.tflite", "n/a.tflite", "1.996"]
    assert baseline[3][:3] == ["n/b.tflite", "1.670", "1.668 to 1.672"]
    assert [line[3] for line in baseline[2:]] == ["✅ improved", "❌ regressed", "❌ regressed"]
    assert budgets[2][:4] == ["n/a.tflite", "latency_ms", "15", "10.0"]
    assert [line[4] for line in budgets[2:]] == ["✅ pass", "❌ fail", "inconclusive"]


def test_nothing_in_a_name_is_markdown(bench: BenchResult) -> None:
    name = "a|b\\|c\\ `x` *y* <b>\n\r|.tflite"
    first, *others = bench.results
    named = replace(bench, results=(replace(first, file=name), *others), notes=("one |\ntwo", "three"))
    text = bench_markdown([named])
    assert tables(text)[0][2][0] == "a|b\\|c\\ `x` *y* <b> |.tflite"
    assert r"\<b>" in text and r"\*y\*" in text
    assert text.endswith("\n- one \\| two\n- three\n")


@given(st.text(max_size=40))
def test_a_table_holds_any_text(name: str) -> None:
    (found,) = tables("\n".join(markdown.table(("a", "b"), [(name, "x")])))
    assert [len(line) for line in found] == [2, 2, 2]
    assert found[2] == [" ".join(name.split()), "x"]


def test_a_section_for_each_device(bench: BenchResult) -> None:
    other = replace(bench, device=replace(bench.device, model="Phone_6"))
    heads = re.findall(r"^## .*$", bench_markdown([bench, other]), re.MULTILINE)
    assert heads == ["## Bench on Phone 5 (arm64-v8a, Android 14)", "## Bench on Phone_6 (arm64-v8a, Android 14)"]


def test_rounds_that_count_are_counted(tmp_path: Path) -> None:
    bench = result_of(make_artifacts(tmp_path), steady, COOL, COOL, HOT)
    assert "1 thread, 1 round.\n" in bench_markdown([bench])
