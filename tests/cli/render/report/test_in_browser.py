"""The pages in a browser: drawn, without a word on the console, and fit for a phone and a screen reader."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mobilekit.cli.render.report.bundle import Facts, bundle_html
from mobilekit.cli.render.report.sweep import sweep_html
from mobilekit.cli.render.report.themes import THEMES
from mobilekit.sweep.show import ShownSweep
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.cli.render.test_bench import PROFILE, make_bench
from tests.cli.render.test_ledger import CASES, MANIFEST
from tests.sweep.rows_by_hand import row

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is on PATH (Debian: apt install chromium)"),
]
EVIL = "\"'></script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>&lt;"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # containers have none
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page, and all that it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def faults(self) -> list[str]:
        """What axe-core finds that keeps people out."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in GRAVE]


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a page; at the end, see that it said nothing and asked for nothing."""
    pages: list[Opened] = []

    def make(html: str, scheme: str = "light", width: int = 1280) -> Opened:
        (tmp_path / "page.html").write_text(html)
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        found = Opened(page)
        page.on("console", lambda message: found.said.append(message.text))
        page.on("pageerror", lambda error: found.said.append(str(error)))
        page.on("request", lambda request: found.asked.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_function("[...document.querySelectorAll('.chart')].some((each) => each.querySelector('svg'))")
        pages.append(found)
        return found

    yield make
    for each in pages:
        each.page.close()
        assert each.said == []
        assert [url for url in each.asked if not url.endswith("/page.html")] == []


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """A bundle that fails, with layers, times, a profile and counts."""
    bench = make_bench(tmp_path_factory.mktemp("bench"))
    digest = bench.results[0].sha256
    profiled = replace(bench, profiles={bench.results[0].file: PROFILE})
    count = replace(make_file(make_model()), sha256=digest)
    manifest = {**MANIFEST, "files": {**MANIFEST["files"], "model.int8.tflite": digest}}
    sizes = {"model.onnx": 9_000_000, "model.int8.tflite": 2_000_000}
    return Facts("net", manifest, CASES["invariant"], sizes, benches=[profiled, make_result(count)])


def a_sweep() -> ShownSweep:
    """Two models in two formats on two devices, and one that failed; an int8 file is on nobody's Pareto set."""
    rows = []
    for device, slow in (("local", 1.0), ("adb:1", 2.0)):
        for model, size, error in (("small", 1_000_000, 0.2), ("large", 4_000_000, 0.02)):
            for precision, smaller in (("float32", 1.0), ("int8", 0.25)):
                raw = [slow * size / 1e5 * smaller + each / 100 for each in range(9)]
                more = {"size_bytes": int(size * smaller), "relative_l2": error if precision == "int8" else 1e-6}
                rows.append(row(model, precision, raw, **more, device=device, device_model=device.upper()))
    rows.append(row("broken", status="failed", failed_step="export", reason="a <b> op", size_bytes=None, parity=None))
    answer = {"target": "gpu", "taken": 3, "total": 5, "whole": False}
    rows[0]["targets"] = [json.dumps(answer)]
    return ShownSweep("s", tuple({**each, "pareto": each["precision"] == "float32"} for each in rows), ("Mind this.",))


LOOKS = [("light", 1280), ("dark", 390)]


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_page_of_a_bundle_is_drawn_and_can_be_read_by_everyone(
    facts: Facts, opened: Open, scheme: str, width: int, tmp_path: Path
) -> None:
    shown = opened(bundle_html(facts), scheme, width)
    page = shown.page
    page.wait_for_selector("#depth-step svg")
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size[0] <= width and size[1] < 4000
    assert shown.faults() == []
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    page.wait_for_function("[...document.querySelectorAll('.chart')].every((each) => each.querySelector('svg path'))")
    assert shown.faults() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(page.screenshot(path=tmp_path / "page.png", full_page=True)) > 20_000
    stages = len(facts.result.totals)
    assert shown.count("#drift .mark-symbol.role-mark path") == stages
    assert shown.count("#drift .mark-rect.role-mark path") == stages, "a limit for each"
    assert shown.count("#latency-0 .mark-symbol.role-mark path") == 1
    assert shown.count("#latency-0 .mark-rect.role-mark path") == len(facts.benches[0].results[0].raw_ms)  # type: ignore[union-attr]
    assert shown.count("#share-0-0 .mark-rect.role-mark path") == len(PROFILE.by_module)
    assert shown.count("#depth-total .mark-line path") == 2, "a line for each stage"


def test_errors_stand_where_their_logarithms_are(facts: Facts, opened: Open) -> None:
    page = opened(bundle_html(facts)).page
    places = page.evaluate(
        "[...document.querySelectorAll('#drift .mark-symbol path')].map((each) => each.getAttribute('transform'))"
    )
    across = [float(re.findall(r"translate\(([-\d.]+)", place)[0]) for place in places]
    errors = [math.log10(each.relative_l2) for each in facts.result.totals.values()]
    scale = (across[-1] - across[0]) / (errors[-1] - errors[0])
    assert scale > 0
    for place, error in zip(across, errors, strict=True):
        assert place == pytest.approx(across[0] + scale * (error - errors[0]), abs=0.5)


def test_a_chart_says_its_figures_beside_the_pointer_and_without_one(facts: Facts, opened: Open) -> None:
    page = opened(bundle_html(facts)).page
    page.locator("#drift .mark-symbol.role-mark path").last.hover()
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "tflite-int8" in tip.inner_text() and "2.0e-02" in tip.inner_text()
    [spoken] = [each for each in page.get_by_role("img").all() if each.locator("#drift").count()]
    assert "tflite-int8 2.0e-02, fail" in spoken.get_attribute("aria-label")
    assert "tflite-int8" not in spoken.aria_snapshot().replace(spoken.get_attribute("aria-label"), ""), "nothing twice"


def test_charts_take_the_colors_of_the_night(facts: Facts, opened: Open) -> None:
    page = opened(bundle_html(facts)).page

    def color() -> str:
        return str(page.locator("#drift .mark-symbol.role-mark path").first.get_attribute("fill"))

    assert color() == THEMES["light"]["range"]["ordinal"][0]
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "(color) => document.querySelector('#drift .mark-symbol path')?.getAttribute('fill') === color",
        arg=THEMES["dark"]["range"]["ordinal"][0],
    )


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_page_of_a_sweep_is_drawn_and_can_be_read_by_everyone(
    opened: Open, scheme: str, width: int, tmp_path: Path
) -> None:
    shown = opened(sweep_html("s", a_sweep(), {}), scheme, width)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.faults() == []
    assert len(shown.page.screenshot(path=tmp_path / "page.png", full_page=True)) > 20_000
    assert shown.count("#pareto .mark-rule.role-mark line, #pareto .mark-rule.role-mark path") == 4, "intervals"
    assert shown.page.locator("#shown").inner_text() == "4 of 9 shown."
    assert "a <b> op" in shown.page.locator("main").inner_text()


def test_filters_choose_rows_and_points_alike(opened: Open) -> None:
    shown = opened(sweep_html("s", a_sweep(), {}))
    page = shown.page

    def names() -> list[list[str]]:
        rows = page.locator("#rows tbody tr:visible")
        return [each.split("\t")[:3] for each in rows.all_inner_texts()]

    assert [each[0].split("*")[0].strip() for each in names()] == ["small", "small", "large", "large"]
    page.select_option("select[name=device]", "adb:1 (ADB:1)")
    page.select_option("select[name=precision]", "int8")
    page.wait_for_function("document.querySelectorAll('#pareto .layer_1_marks path').length === 2")
    assert [each[2] for each in names()] == ["int8", "int8"]
    page.check("input[name=pareto]")
    assert page.locator("#shown").inner_text() == "0 of 9 shown."
    assert "none of the rows that are shown has both figures (latency, ms; " in page.locator("#empty").inner_text()
    page.select_option("select[name=precision]", "")
    page.select_option("select[name=device]", "")
    assert page.locator("#shown").inner_text() == "5 of 9 shown."
    assert page.locator("#empty").inner_text() == ""
    page.select_option("select[name=x]", "size")
    page.wait_for_function("document.querySelector('#pareto svg')?.textContent.includes('size, MB')")


def test_the_table_sorts_by_keyboard_and_what_has_no_figure_comes_last(opened: Open) -> None:
    page = opened(sweep_html("s", a_sweep(), {})).page
    page.select_option("select[name=device]", "")

    def sizes() -> list[str]:
        column = page.locator("#rows thead th").all_inner_texts().index("size")
        return [each.split("\t")[column] for each in page.locator("#rows tbody tr").all_inner_texts()]

    page.locator("th[data-sort=size] button").focus()
    page.keyboard.press("Enter")
    assert sizes() == [*["0.25 MB"] * 2, *["1.00 MB"] * 4, *["4.00 MB"] * 2, "-"]
    assert page.locator("th[data-sort=size]").get_attribute("aria-sort") == "ascending"
    page.locator("th[data-sort=size] button").press("Space")
    assert sizes() == [*["4.00 MB"] * 2, *["1.00 MB"] * 4, *["0.25 MB"] * 2, "-"]


def test_names_do_no_harm(facts: Facts, opened: Open) -> None:
    """Names of models, files and labels are other people's text, in HTML, in attributes and in JSON within a script."""
    manifest = {**facts.manifest, "files": {**facts.manifest["files"], f"{EVIL.replace('/', '')}.tflite": "0" * 64}}
    rows = [replace(each, output=EVIL) for each in facts.result.rows]
    evil = replace(facts, name=EVIL, manifest=manifest, result=replace(facts.result, rows=tuple(rows)))
    two = replace(facts.result, rows=(*rows, *facts.result.rows))
    for html in (bundle_html(evil), bundle_html(replace(evil, result=two))):
        page = opened(html).page
        assert page.evaluate("window.hacked") is None
        assert page.locator("h1").inner_text() == EVIL
        assert page.locator("img").count() == 0
    sweep = a_sweep()
    bad = tuple({**each, "model": EVIL, "device_model": EVIL} for each in sweep.rows)
    page = opened(sweep_html(EVIL, replace(sweep, rows=bad, notes=(EVIL,)), {})).page
    page.locator("#pareto .layer_1_marks path").first.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert page.evaluate("window.hacked") is None and page.locator("img").count() == 0
    assert EVIL in page.locator("#vg-tooltip-element").inner_text()
    assert EVIL in page.locator("#rows tbody tr").first.inner_text()


def test_a_script_that_came_in_would_not_run(facts: Facts, opened: Open) -> None:
    """The page's policy names its own scripts by their digests."""
    html = bundle_html(facts).replace("</main>", "<script>window.hacked = 1</script></main>")
    shown = opened(html)
    assert shown.page.evaluate("window.hacked") is None
    assert len(shown.said) == 1 and "Content Security Policy" in shown.said.pop()
