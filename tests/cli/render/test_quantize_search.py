"""What `mobilekit quantize-search` found: the terminal, the plot, and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mobilekit.cli.render.float_search_chart import draw_search
from mobilekit.cli.render.quantize_search import search_report
from mobilekit.jobs.quantize_search.float_search import Point
from mobilekit.jobs.quantize_search.job import Int8Result, SearchResult
from mobilekit.recipes.schema import Int8, Recipe
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.conftest import ROOT
from tests.snapshots import check_snapshot, on_terminal

PLAIN, MIXED = Int8(), Int8(keep_float=("attention",), float_modules=("parts.2",))
FOUND = SearchResult(
    "net",
    "default",
    0.99,
    (Point(PLAIN, "", 0, 0.0, 0.0, 0.25, 0.875), Point(MIXED, "parts.2", 2, 0.125, 0.25, 0.0625, 0.995)),
    (Int8Result(PLAIN, 0.875, 0.25, 1000000, 1), Int8Result(MIXED, 0.9925, 0.0625, 1250000, 3)),
    Recipe(int8=MIXED),
)
HALF = Point(Int8(float_modules=("a[b].*.se",)), "a[b].*.se", 1, 0.1, 0.1, 0.125, 0.9)


def test_snapshot() -> None:
    lost = replace(FOUND, limit=0.999, points=(*FOUND.points[:1], HALF, *FOUND.points[1:]))
    check_snapshot("quantize-search.txt", on_terminal(search_report(FOUND), "", search_report(lost)))


COUNTED = replace(
    FOUND,
    files=tuple(replace(each, instructions=count) for each, count in zip(FOUND.files, (900_000, None), strict=True)),
    counts=(make_result(make_file(make_model())), make_result(make_file(None, "trial.tflite", "it does not run"))),
)


def test_counts_stand_beside() -> None:
    check_snapshot("quantize-search-counted.txt", on_terminal(search_report(COUNTED)))
    content = COUNTED.to_json()
    assert [each.get("instructions") for each in content["files"]] == [900_000, None]
    assert (content["core"]["name"], len(content["counts"])) == ("a76", 2)


def test_the_json_is_what_it_was() -> None:
    before = json.loads((ROOT / "tests" / "data" / "json" / "quantize-search.json").read_text())
    assert json.loads(json.dumps(FOUND.to_json())) == before


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    draw_search(FOUND, tmp_path / "x.svg")
    assert "int8 of net" in (tmp_path / "x.svg").read_text()
