"""A count of instructions on the terminal, as Markdown, as JUnit and as SARIF."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mobilekit.bench.instructions.gates import CountGates
from mobilekit.bench.instructions.record import CacheMisses
from mobilekit.bench.instructions.result import CountResult
from mobilekit.cli.findings_of_cost import cost_findings
from mobilekit.cli.render.count import count_markdown, count_report
from mobilekit.cli.render.junit import count_junit
from mobilekit.cli.render.sarif import findings_sarif
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.cli.render.test_ci import check_junit
from tests.snapshots import check_snapshot, on_terminal


@pytest.fixture
def count(tmp_path: Path) -> CountResult:
    """A model that grew by a tenth and has another kernel, a copy that did not, and one that was refused."""
    base, budgets = tmp_path / "base.json", tmp_path / "budgets.yaml"
    files = [make_file(make_model()), make_file(make_model(), "n/model.int8.tflite")]
    CountGates.load(None, None, base).save(make_result(*files))
    budgets.write_text(
        "budgets:\n"
        "- {file: '*float32*', instructions: 1_050_000}\n"
        "- {file: '*int8*', instructions: 700_000, kind: pointwise}\n"
    )
    refused = "Two inferences did not run the same instructions: step 1, f32_vmul: 7 instructions, then 8."
    grown = make_file(make_model(700_000, "f32_gemm_4x2"))
    now = make_result(grown, files[1], make_file(None, "n/chance.tflite", refused))
    warned = replace(now.comparisons[0], warning="this core has no dot products: made up")
    return CountGates.load(base, budgets, None).check(replace(now, comparisons=(warned,)))


def test_on_the_terminal(count: CountResult) -> None:
    check_snapshot("count.txt", on_terminal(count_report(count, details=True)))


def test_misses_of_caches_have_columns_and_a_table(count: CountResult) -> None:
    first = count.results[0].count
    assert first
    misses = [CacheMisses(200_000, 150_000), CacheMisses(90_000, 50_000)]
    steps = tuple(replace(step, misses=each) for step, each in zip(first.steps, misses, strict=True))
    counted = replace(first, steps=steps, misses=CacheMisses(290_000, 200_000))
    simulated = replace(count, results=(replace(count.results[0], count=counted), *count.results[1:]))
    text = on_terminal(count_report(simulated, details=True))
    text = text[text.index("\nn/model.float32.tflite:") : text.index("\nn/model.int8.tflite:")]
    check_snapshot("count_misses.txt", text.strip())
    head, _, row = count_markdown(simulated).split("\n")[2:5]
    assert head.endswith("| size MB | misses of 64 KiB | misses of 256 KiB |") and row.endswith("| 0.29M | 0.20M |")


def test_as_markdown(count: CountResult) -> None:
    check_snapshot("count.md", count_markdown(count))


def test_as_junit(count: CountResult) -> None:
    text = count_junit(count)
    check_junit(text)
    check_snapshot("count.junit.xml", text)


def test_as_sarif(count: CountResult) -> None:
    results = json.loads(findings_sarif(cost_findings(count), Path()))["runs"][0]["results"]
    assert [result["message"]["text"] for result in results] == [
        "n/chance.tflite: Two inferences did not run the same instructions: step 1, f32_vmul: 7 instructions, then 8.",
        "n/model.float32.tflite: against the baseline: 10.00 % more; the file is the same.",
        "n/model.float32.tflite, kind pointwise: against the baseline: 10.00 % of the model more.",
        "n/model.float32.tflite, module blocks.0: against the baseline: 10.00 % of the model more.",
        "n/model.float32.tflite: instructions: above the limit.",
    ]
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results}
    assert uris == {"artifacts/n/chance.tflite", "artifacts/n/model.float32.tflite"}
    assert {result["ruleId"] for result in results} == {"cost"}


def test_no_rendering_speaks_of_time(count: CountResult) -> None:
    everything = on_terminal(count_report(count, details=True)) + count_markdown(count) + count_junit(count)
    assert " ms" not in everything and "latency" not in everything
    for words in ("Cortex-A76", "LiteRT 2.3.0", "qemu 7.2.22"):
        assert everything.count(words) >= 3
