"""What the page of a sweep says of rows of each kind."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from mobilekit.cli.render.report.sweep import sweep_html
from mobilekit.sweep.query import IMPORTED
from mobilekit.sweep.show import ShownSweep
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.sweep.rows_by_hand import row

TIMES = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]


def page(*rows: dict[str, Any], **more: Any) -> str:
    marked = tuple({"pareto": False, **each} for each in rows)
    return sweep_html("s", ShownSweep("s", marked, ()), more.pop("pages", {}), **more)


def data(html: str, name: str) -> Any:
    [found] = re.findall(rf'(?s)<script type="application/json" id="{name}">(.*?)</script>', html)
    return json.loads(found)


def verdict(html: str) -> str:
    """Return the sentence at the top, without its sign."""
    [found] = re.findall(r'(?s)<p class="verdict (\w+)">.*?</span></span> (.*?)</p>', html)
    return ": ".join(found)


VERDICTS = {
    "all good": ([row(), row("b")], "pass: 2 rows of 0 exports: 2 within the limits."),
    "one outside": ([row(), row(parity="fail")], "fail: 2 rows of 0 exports: 1 within the limits, 1 outside."),
    "one failed": (
        [row(), row("b", status="failed")],
        "fail: 2 rows of 0 exports: 1 within the limits, 1 failed (b 224x224 float32).",
    ),
    "unjudged": ([row(parity="inconclusive")], "inconclusive: 1 row of 0 exports: 1 unjudged."),
    "not measured": ([row(parity=None)], "inconclusive: 1 row of 0 exports: 1 not measured."),
    "imported": (
        [row(), row(source=IMPORTED, parity=None, bundle=None)],
        "pass: 2 rows of 0 exports: 1 within the limits, 1 imported.",
    ),
    "imported and failed": (
        [row(), row("b", "float", source=IMPORTED, status="failed", parity=None, bundle=None)],
        "fail: 2 rows of 0 exports: 1 within the limits, 1 failed (b 224x224 float).",
    ),
    "none yet": ([], "inconclusive: 0 rows of 0 exports: nothing yet."),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_is_that_of_the_rows_that_were_run(case: str) -> None:
    rows, words = VERDICTS[case]
    assert verdict(page(*rows)) == words


def test_axes_are_those_that_have_figures() -> None:
    counted = replace(make_file(make_model()), sha256="0" * 64)
    html = page(row(raw_ms=TIMES, top1_agreement=1.0), benches=[make_result(counted)])
    assert {tuple(each.split("\n")) for each in data(html, "sweep-specs")} == {
        (x, y) for x in ("latency", "size", "count0") for y in ("error", "same")
    }
    [point] = data(html, "sweep-points")
    assert (point["latency"], point["low"], point["high"]) == (2.3, 2.0, 2.5)
    assert (point["size"], point["error"], point["same"], point["count0"]) == (0.001, 0.1, 100.0, 1_000_000)
    assert "1.00M" in html and "2.30 (2.00 to 2.50)" in html
    alone = data(page(row(top1=0.5)), "sweep-specs")
    assert [each.split("\n") for each in alone] == [["size", "top1"], ["size", "error"]]


@pytest.mark.parametrize("error", [0.0, float("inf"), float("nan"), None])
def test_errors_that_no_logarithm_has_are_in_the_table_alone(error: float | None) -> None:
    [point] = data(page(row(relative_l2=error)), "sweep-points")
    assert point["error"] is None


def test_targets_are_marks_with_words() -> None:
    whole = {"target": "cpu", "taken": 5, "total": 5, "whole": True}
    part = {"target": "gpu", "taken": 3, "total": 5, "whole": False, "wrong": [{"count": 2}]}
    html = page(row(targets=[json.dumps(whole), json.dumps(part)]), row("b", targets=[json.dumps(whole)]))
    signs = re.findall(
        r'<td class="sign"><span class="mark \w+" title="(.*?)"><span aria-hidden="true">(.*?)</span>', html
    )
    assert signs == [
        ("within its limits", "✓"), ("cpu: 5 of 5 ops", "✓"), ("gpu: 3 of 5 ops", "✗ 3/5, 2 wrong"),
        ("within its limits", "✓"), ("cpu: 5 of 5 ops", "✓"), ("gpu: not asked", "—"),
    ]  # fmt: skip


def test_the_page_starts_on_a_device_of_our_own_and_signs_are_those_of_its_words() -> None:
    theirs = row("a", source=IMPORTED, parity=None, bundle=None, device="Phone A", relative_l2=None, size_bytes=None)
    html = page(theirs, row("b", status="failed", device="x", size_bytes=None), row("c", device="local", pareto=True))
    assert re.findall(r"<option selected>(.*?)</option>", html) == ["local"]
    table = html[html.index("<tbody>") :].split("</tbody>")[0]
    signs = [re.findall(r'aria-hidden="true">(.*?)<', line)[:1] for line in re.findall(r"(?s)<th.*?</th>", table)]
    assert signs == [["i"], [], ["*"]]
    assert "* beaten by no other" in html and "i measured by others" in html and 'id="empty"' in html


def test_a_page_without_a_chart_says_why() -> None:
    assert "There is no chart: no row has both a cost" in page(row(size_bytes=None))


def test_filters_are_for_what_differs_and_links_for_what_is_there() -> None:
    rows = [row("a", bundle="bundles/a"), row("b", "int8", bundle="bundles/gone")]
    html = page(*rows, pages={"bundles/a": "p/a.html"})
    assert re.findall(r'<select name="(\w+)"', html) == ["model", "precision"]
    assert re.findall(r'<a href="(.*?)">(.*?)</a>', html) == [("p/a.html", "a")]
