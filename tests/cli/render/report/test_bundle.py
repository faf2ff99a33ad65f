"""What the page of a bundle says: limits on the axis of errors, marks, warnings, and the data in its scripts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from mobilekit.cli.render.report.bundle import Facts, bundle_html
from mobilekit.cli.render.report.charts import decades, powers
from mobilekit.cli.results import DiffResult, result_of
from mobilekit.parity.ledger.result import ArtifactSummary, Bound, GateResult, NotRun
from mobilekit.store.stages import Stage
from tests.cli.render.test_ledger import CASES, MANIFEST, ledger, row


def page(result: DiffResult, **more: Any) -> str:
    return bundle_html(Facts("net", MANIFEST, result, {"model.int8.tflite": 2_000_000}, **more))


def data(html: str, name: str) -> Any:
    [found] = re.findall(rf'(?s)<script type="application/json" id="{name}">(.*?)</script>', html)
    return json.loads(found)


def marks(html: str, file: str) -> dict[str, tuple[str, str]]:
    """Return sign and words of each mark of a file, by the heading of its column."""
    line = html[html.index(f'<th scope="row">{file}</th>') :].split("</tr>")[0]
    form = r'data-label="([^"]*)"><span class="mark[^>]*><span aria-hidden="true">(.*?)</span><span [^>]*>(.*?)</span>'
    return {label: (sign, words) for label, sign, words in re.findall(form, line)}


@pytest.mark.parametrize(
    ("metric", "limit", "place"),
    [
        ("relative_l2", 0.04, 0.04),  # where it is
        ("max_abs", 0.32, 0.08),  # its figure is 4 x .02: four times as far off, so .02 may become .08
        ("cosine", 0.9, None),  # no error that grows
    ],
)
def test_a_limit_stands_where_the_whole_error_would_meet_it(metric: str, limit: float, place: float | None) -> None:
    result = CASES["pass"]
    rows = [
        replace(each, limits=(Bound(metric, limit, "by hand").judge(each.metrics),) if each.is_total else each.limits)
        for each in result.rows
    ]
    points = data(page(replace(result, rows=tuple(rows))), "drift-spec")["data"]["values"]
    [int8] = [each for each in points if each["stage"] == "tflite-int8"]
    assert int8["error"] == 0.02 and int8["verdict"] == "pass"
    assert int8["limit"] == (None if place is None else pytest.approx(place))


def test_of_several_limits_the_nearest_is_drawn() -> None:
    result = CASES["pass"]
    rows = []
    for each in result.rows:
        limits = [Bound("relative_l2", 0.05, "").judge(each.metrics), Bound("max_abs", 0.12, "").judge(each.metrics)]
        rows.append(replace(each, limits=tuple(limits)))
    points = data(page(replace(result, rows=tuple(rows))), "drift-spec")["data"]["values"]
    assert points[-1]["limit"] == pytest.approx(0.03), "max abs may grow by half, relative L2 to 2.5 times"
    assert points[-1]["shown_limit"].startswith("max abs <= 1.2e-01")


def test_decades_hold_all_figures_and_have_room() -> None:
    assert decades([2e-6, None, 0.0, float("inf"), 0.1]) == (pytest.approx(1e-7), pytest.approx(1.0))
    assert powers(1e-2, 1.0) == pytest.approx([0.01, 0.1, 1.0])
    assert decades([None, 0.0]) == (1e-8, 1.0)


def test_marks_say_what_they_mean() -> None:
    gates = (
        GateResult("model.int8.tflite", "whole", 0, 0, "pass", target="cpu"),
        GateResult("model.int8.tflite", "whole", 0, 2, "fail", "2 PAD", target="gpu"),
        GateResult("model.onnx", "whole", 0, 0, "pass", target="htp"),
    )
    made = replace(ledger(), gates=gates, artifacts={"model.int8.tflite": ArtifactSummary(9, {"PAD": 2}, 3)})
    html = page(result_of(made))
    of_int8 = marks(html, "model.int8.tflite")
    assert of_int8["parity"] == ("✓", "within its limits")
    assert of_int8["XNNPACK"] == ("3", "XNNPACK: 3 parts")
    assert of_int8["cpu"] == ("✓", "cpu: runs all of it")
    assert of_int8["gpu"] == ("✗", "gpu leaves 2 ops or computes them wrongly (2 PAD)")
    assert of_int8["htp"] == ("—", "htp: not asked")
    assert marks(html, "model.onnx")["XNNPACK"][0] == "—"


@pytest.mark.parametrize("how", ["is missing", "is changed: its SHA-256 is not the manifest's"])
def test_a_file_that_is_not_the_exported_one_is_not_praised(how: str) -> None:
    name, whole = "model.int8.tflite", "model.float32.tflite"
    gates = (GateResult(name, "whole", 0, 0, "pass", target="cpu"),)
    rows = (*ledger().rows, row(Stage.TFLITE_FLOAT32, Stage.REFERENCE, 5e-7))
    made = result_of(replace(ledger(), rows=rows, gates=gates, artifacts={name: ArtifactSummary(9, {"PAD": 2}, 1)}))
    manifest = {**MANIFEST, "files": {**MANIFEST["files"], whole: "23" * 32}}
    facts = Facts("net", manifest, made, {name: 500, whole: 2_000_000})
    assert "<p>model.int8.tflite has 500 bytes for the 2.00 MB of" in bundle_html(facts), "as long as it is whole"
    html = bundle_html(replace(facts, changes=[f"{name} {how}"]))
    assert "500 bytes for" not in html
    assert [sign for sign, _ in marks(html, name).values()] == ["✗", "?", "?"]
    assert marks(html, whole)["parity"][0] == "✓", "the other is as it was"


def test_ops_outside_of_a_single_part_are_told() -> None:
    names = ("model.float16.pte", "model.int8.pte")
    made = replace(ledger(), artifacts=dict.fromkeys(names, ArtifactSummary(9, {"linear": 9}, 1)))
    manifest = {**MANIFEST, "files": {**MANIFEST["files"], **dict.fromkeys(names, "23" * 32)}}
    html = bundle_html(Facts("net", manifest, result_of(made), {}, outside={names[0]: 2, names[1]: 0}))
    assert marks(html, names[0])["XNNPACK"] == ("1 part, 2 ops outside", "XNNPACK: 1 part, 2 ops outside")
    assert marks(html, names[1])["XNNPACK"][0] == "✓"


def test_an_error_of_zero_is_written_with_its_limit_and_stages_keep_their_order() -> None:
    result = CASES["pass"]
    first, others = result.rows[0], result.rows[1:]
    exact = replace(first, relative_l2=0.0, max_abs=0.0)
    exact = replace(exact, limits=(Bound("max_abs", 5e-7, "by hand").judge(exact.metrics),))
    spec = data(page(replace(result, rows=(exact, *others))), "drift-spec")
    points = spec["data"]["values"]
    assert points[0]["zero"] == "0 (limit: max abs <= 5.0e-07)" and points[0]["limit"] is None
    assert all("zero" not in each for each in points[1:])
    assert spec["encoding"]["y"]["scale"]["domain"] == [each["stage"] for each in points]
    placed = replace(exact, limits=(Bound("relative_l2", 1e-6, "by hand").judge(exact.metrics),))
    point = data(page(replace(result, rows=(placed, *others))), "drift-spec")["data"]["values"][0]
    assert (point["zero"], point["limit"]) == ("0", 1e-6)


def test_what_is_not_in_the_chart_is_told_and_code_is_code() -> None:
    absent = NotRun(Stage.MLPACKAGE, "`x <y` runs elsewhere")
    html = page(replace(CASES["pass"], not_run=(absent,)))
    assert "Not in the chart: mlpackage was not run here (<code>x &lt;y</code> runs elsewhere)." in html
    assert "`" not in re.sub(r"(?s)<(script|style).*?</\1>", "", html)
    assert "Not in the chart" not in page(CASES["pass"])


def test_warnings_of_ranges_inputs_and_weights_are_told() -> None:
    manifest = {
        **MANIFEST,
        "model": {**MANIFEST["model"], "weights": {**MANIFEST["model"]["weights"], "trained": False}},
    }
    html = bundle_html(Facts("net", manifest, replace(CASES["pass"], notes=("They are gray.",)), {}))
    told = re.findall(r"<li>(.*?)</li>", html[html.index("<h2>Warnings and notes</h2>") :].split("</ul>")[0])
    assert told[0].startswith("The weights are not trained") and "They are gray." in told
    assert any("float16-overflow" in each and "7e+04" in each for each in told)


def test_inputs_without_labels_have_agreement_alone() -> None:
    html = page(CASES["pass"], tested=result_of(ledger()))
    assert "<h3>On other inputs: 16 inputs" in html and "They have no labels" in html
    assert "<h2>Accuracy</h2>" not in page(CASES["pass"])


def test_nothing_in_the_data_ends_a_script() -> None:
    rows = tuple(replace(each, output="</script><!--") for each in CASES["pass"].rows)
    both = replace(CASES["pass"], rows=(*rows, *CASES["pass"].rows))
    html = page(both)
    stages = [each["stage"] for each in data(html, "drift-spec")["data"]["values"]]
    assert "tflite-int8 </script><!--" in stages
    assert "</script><!--" not in html and "<!--" not in html.split("<body>")[1].split("<script>")[0]
