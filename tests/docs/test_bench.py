"""docs/bench.md says what `mobilekit bench` does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.command_blocks import blocks
from mobilekit.bench.baseline import MARGIN
from mobilekit.bench.bench import ON_DEVICE, ROUNDS
from mobilekit.bench.budgets import parse_budgets
from mobilekit.bench.devices.store import LIMIT_BYTES, LIMIT_SECONDS, STORE
from mobilekit.bench.engine import RunSettings
from mobilekit.bench.session import HOTTEST, HOTTEST_BATTERY, Plan
from mobilekit.bench.statistics import MIN_ROUNDS, median_interval
from tests.cli.test_bench import Run, make_run, parse
from tests.conftest import ROOT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    yield from make_run(tmp_path, monkeypatch, capsys)


DOCUMENT = (ROOT / "docs" / "bench.md").read_text()


def test_the_documents_flags_exist(run: Run) -> None:
    told = set(re.findall(r"--[a-z][a-z-]+", DOCUMENT))
    assert told <= set(re.findall(r"--[a-z][a-z-]+", run("--help").out))


def test_the_documents_budgets_are_read() -> None:
    (example,) = (block.text for block in blocks(ROOT / "docs" / "bench.md") if block.language == "yaml")
    first, second = parse_budgets(example, "docs/bench.md")
    assert (first.device, first.precision, first.latency_ms, second.size_mb) == ("Pixel*", "int8", 12, 8)


def test_the_documents_figures_are_the_tools() -> None:
    twelve = median_interval(list(range(1, 13)))
    assert (twelve.low, twelve.high, f"{100 * twelve.confidence:.1f}") == (3, 10, "96.1")
    words = " ".join(DOCUMENT.split())
    for figure in (
        f"There are {ROUNDS} rounds",
        f"Fewer than {MIN_ROUNDS} rounds",
        f"`--runs` ({RunSettings().runs})",
        f"`--warmup-runs` ({RunSettings().warmup_runs})",
        f"`--max-seconds` ({RunSettings().max_seconds})",
        f"thermal status above {HOTTEST} (NONE)",
        f"a battery above {HOTTEST_BATTERY:.0f} °C",
        f"a rest of {Plan((), RunSettings(), 1).cool_seconds} s, up to {Plan((), RunSettings(), 1).max_rejected} times",
        f"lies above {1 + MARGIN}",
        f"`{STORE}`",
        f"not used for {LIMIT_SECONDS // 86400} days",
        f"beyond {LIMIT_BYTES // 10**6} MB",
        f"`{ON_DEVICE}`",
    ):
        assert figure in words


def test_the_documents_keys_are_those_of_the_json(run: Run, digits_bundle: Path) -> None:
    content = parse(run(digits_bundle / "model.int8.tflite", "--rounds", 1, "--runs", 1, "--json"))
    section = DOCUMENT.split("## JSON")[1]
    for key in [*content, *content["results"][0]["latency_ms"]]:
        assert re.search(rf"[`\"]{key}[`\"]", section) or key == "rounds", key
    told = {"file", "precision", "threads", "latency_ms", "raw_ms", "memory_mb", "size_mb", "delegates", "accepted"}
    assert told <= set(content["results"][0])
