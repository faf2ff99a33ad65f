"""A bench on the terminal and as a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from rich.console import Console

from mobilekit.bench.engine import Run
from mobilekit.bench.gates import Gates
from mobilekit.bench.profile import OpTime, Profile, UndelegatedTime
from mobilekit.bench.result import BenchResult
from mobilekit.bench.verdicts import Change
from mobilekit.cli.render import charts
from mobilekit.cli.render.bench import bench_report, device_columns
from mobilekit.cli.render.charts import draw_bench
from mobilekit.cli.render.junit import bench_junit
from mobilekit.cli.render.markdown import bench_markdown
from mobilekit.cli.render.plots import check_place, save
from mobilekit.errors import UsageError
from tests.bench.test_session import COOL, HOT, make_artifacts, result_of, steady
from tests.snapshots import check_snapshot, on_terminal


def crash_of_c(file: Path, times: int) -> Run:
    return Run(None, "It crashed | badly.") if file.name == "c.tflite" else steady(file, times)


@pytest.fixture
def bench(tmp_path: Path) -> BenchResult:
    return make_bench(tmp_path)


@pytest.fixture
def gated(tmp_path: Path) -> BenchResult:
    return make_gated(tmp_path)


def make_bench(folder: Path) -> BenchResult:
    """Return the result of four files, of which c crashes; n/b is twice as slow as n/a."""
    return result_of(make_artifacts(folder), crash_of_c)


def make_gated(folder: Path) -> BenchResult:
    """Return the same, held to a faster baseline and to budgets."""
    base, budgets = folder / "base.json", folder / "budgets.yaml"
    before = result_of(make_artifacts(folder), lambda file, times: replace(crash_of_c(file, times), latency_ms=12.0))
    Gates.load(None, None, base).save(before)
    budgets.write_text("budgets: [{file: n/*, latency_ms: 15}, {file: d.tflite, latency_ms: 40.04}]")
    return Gates.load(base, budgets, None).check(make_bench(folder))


def op(kind: str, ms: float, module: str | None = "body.0", delegated: bool = True) -> OpTime:
    return OpTime(0, "CONV_2D", "t", module, kind, False, ms, delegated)


def profile(*ops: OpTime, partitions: int = 2, unplaced_ms: float = 0.0) -> Profile:
    left = [UndelegatedTime("CONV_2D", "t", each.module, each.ms, "too odd", "") for each in ops if not each.delegated]
    return Profile.of("made up", ops, unplaced_ms, partitions, left)


PROFILE = profile(
    op("pointwise", 3.0), op("depthwise", 2.0, "stem"), op("resize", 1.5, "gate", False), op("padding", 0.0)
)


def shown(renderable: Any, width: int = 200) -> str:
    file = io.StringIO()
    Console(file=file, width=width, soft_wrap=True, highlight=False).print(renderable)
    return file.getvalue()


# The terminal.


def test_the_terminal_has_a_line_for_each_file(bench: BenchResult) -> None:
    lines = shown(bench_report(bench)).splitlines()
    assert lines[0] == "adb:1: Phone 5, arm64-v8a, Android 14; script 1"
    assert lines[1] == "1 thread; 8 rounds of up to 20 inferences; ms"
    cells = {line.split()[0]: line.split() for line in lines[3:8] if line}
    # The median of 10.01 to 10.08, between the 1st and the 8th of 8 figures; 13 MB in the last run.
    assert cells["n/a.tflite"] == ["n/a.tflite", "10.0", "10.0", "..", "10.1", "10.0", "10.1", "13.0", "1.00"]
    assert cells["c.tflite"] == ["c.tflite", "refused"]
    assert "refused: c.tflite: It crashed | badly." in lines
    assert any(re.match(r"n/b\.tflite +n/a\.tflite +1\.996 +1\.992 \.\. 1\.999 slower", line) for line in lines)


def test_few_rounds_say_how_sure_they_are(tmp_path: Path) -> None:
    bench = result_of(make_artifacts(tmp_path), rounds=3)
    text = shown(bench_report(bench))
    assert "10.0 .. 10.0 (75 %)" in text
    assert text.count("(75 %)") == 6, "four files and two comparisons"
    assert bench_markdown([bench]).count("(75 %)") == 6
    assert "(" not in shown(bench_report(result_of(make_artifacts(tmp_path), rounds=6)))


def test_a_single_round_has_no_interval(tmp_path: Path) -> None:
    bench = result_of(make_artifacts(tmp_path), rounds=1)
    for text in (shown(bench_report(bench)), bench_markdown([bench])):
        assert "(0 %)" not in text
        assert text.count("none (1 round)") == 6, "four files and two comparisons"


def test_rejected_rounds_and_notes_are_shown(tmp_path: Path) -> None:
    text = shown(bench_report(result_of(make_artifacts(tmp_path), steady, COOL, COOL, HOT)))
    assert "1 round of up to 20 inferences, 6 more rejected" in text
    assert text.splitlines()[-1].startswith("note: Stopped after 6 rejected rounds")


def test_verdicts_are_shown(gated: BenchResult) -> None:
    text = shown(bench_report(gated))
    assert re.search(
        r"^n/b\.tflite +1\.670 +1\.66\d \.\. 1\.67\d regressed +the interval lies above 1\.03; the file is the same",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^n/a\.tflite latency_ms +15 +10\.0 pass ", text, re.MULTILINE)
    assert re.search(r"^d\.tflite +latency_ms +40\.04 +40\.0 inconclusive ", text, re.MULTILINE)


def test_a_profile_is_shown(bench: BenchResult) -> None:
    bench = replace(bench, profiles={"n/a.tflite": PROFILE})
    text = shown(bench_report(bench))
    assert "n/a.tflite: 6.50 ms (made up); 2 partitions of the delegate; 1.50 ms outside the delegate" in text
    assert re.search(r"^pointwise +3\.00 46\.2 █{30}$", text, re.MULTILINE)
    assert re.search(r"^depthwise +2\.00 30\.8 █{20} *$", text, re.MULTILINE)
    assert re.search(r"^gate +1\.50 23\.1 █{15} *$", text, re.MULTILINE)
    assert re.search(r"^CONV_2D +1 +1\.50 +too odd +- *$", text, re.MULTILINE)
    assert "padding" not in text, "it took no time of its own"


def test_a_profile_without_a_delegate_says_so_once(bench: BenchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    ops = (op("pointwise", 3.0, delegated=False), op("resize", 1.0, delegated=False))
    bench = replace(bench, profiles={"n/a.tflite": profile(*ops, partitions=0, unplaced_ms=0.25)})
    text = shown(bench_report(bench))
    assert "n/a.tflite: 4.25 ms (made up); no delegate took part; 0.250 ms belong to no op\n" in text
    assert "outside the delegate" not in text
    said = texts(drawn([bench], monkeypatch))
    assert "ms by kind of work; no delegate took part" in said and "outside it" not in said


def test_many_modules_are_summed_up(bench: BenchResult) -> None:
    bench = replace(bench, profiles={"n/a.tflite": profile(*(op("pointwise", 1.0, f"m{n}") for n in range(40)))})
    assert re.search(r"^25 others +25\.0 62\.5", shown(bench_report(bench)), re.MULTILINE)


def test_names_are_no_markup(bench: BenchResult) -> None:
    name = "a[red]b[/x]:heart:.tflite"
    bench = replace(
        bench,
        device=replace(bench.device, name="[bold]adb:1[/]", model="[bold]adb:1[/]"),
        results=tuple(replace(each, file=name) for each in bench.results),
        comparisons=tuple(replace(each, file=name, against=name) for each in bench.comparisons),
        profiles={name: profile(op("[k]", 1.0, "[/m]", False))},
        baseline=(Change(name, "int8", "same", "[/why]"),),
    )
    text = shown(bench_report(bench))
    assert text.count(name) == 4 + 1 + 2 + 1 + 1
    assert "[k]" in text and "[/m]" in text and "[/why]" in text
    assert "[bold]adb:1[/]" in shown(device_columns([bench]))


def test_nothing_is_cut_in_80_columns(gated: BenchResult) -> None:
    first, *others = gated.results
    long = replace(first, file="a-rather-long-folder/model.float32.tflite")
    gated = replace(gated, results=(long, *others), profiles={"n/a.tflite": PROFILE})
    text = shown(bench_report(gated), width=80)
    assert "…" not in text
    folded = "".join(line.split(" ")[0] for line in text.splitlines())
    assert "a-rather-long-folder/model.float32.tflite" in folded
    for figures in ("10.0 .. 10.1", "20.0 .. 20.1", "1.992 .. 1.999"):
        assert figures in text


def test_a_column_a_device(bench: BenchResult) -> None:
    other = replace(bench, device=replace(bench.device, name="adb:2"))
    lines = shown(device_columns([bench, other])).splitlines()
    assert lines[0].split() == ["file", "adb:1", "adb:2"]
    assert lines[1].split() == ["n/a.tflite", *("10.0", "(10.0", "..", "10.1)") * 2]
    assert lines[3].split() == ["c.tflite", "refused", "refused"]


def test_snapshots(gated: BenchResult, tmp_path: Path) -> None:
    left = op("resize", 1.5, "gate", False)
    whole = replace(gated, profiles={"n/a.tflite": PROFILE, "n/b.tflite": profile(left, partitions=0)})
    other = replace(whole, device=replace(whole.device, name="adb:2"))
    few = result_of(make_artifacts(tmp_path), steady, COOL, COOL, HOT, rounds=3)
    check_snapshot("bench.txt", on_terminal(*map(bench_report, (whole, few)), device_columns([whole, other])))
    check_snapshot("bench.md", bench_markdown([whole, few]))
    check_snapshot("bench.junit.xml", bench_junit([whole, few]))


# Charts.


def drawn(benches: Sequence[BenchResult], monkeypatch: pytest.MonkeyPatch) -> Figure:
    """Return the figure in place of a file of it."""
    kept: list[Figure] = []
    monkeypatch.setattr(charts, "save", lambda figure, _path: kept.append(figure))
    draw_bench(benches, Path("x.png"))
    kept[0].canvas.draw()
    return kept[0]


def texts(figure: Figure) -> list[str]:
    return [
        " ".join(text.get_text().split()) for text in figure.findobj(Text) if text.get_visible() and text.get_text()
    ]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_a_picture_is_written(bench: BenchResult, tmp_path: Path, suffix: str) -> None:
    bench = replace(bench, profiles={"n/a.tflite": PROFILE})
    path = tmp_path / f"bench{suffix}"
    draw_bench([bench], path)
    if suffix == ".svg":
        assert "<svg " in path.read_text() and path.read_text().endswith("</svg>\n")
    else:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width > 1000 and image.height > 500
            assert len(set(image.convert("RGB").resize((200, 200)).getdata())) > 50, "it is not blank"
    assert [file.name for file in tmp_path.iterdir() if "bench" in file.name] == [path.name]


def test_a_picture_shows_each_figure(bench: BenchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = replace(bench, profiles={"n/a.tflite": PROFILE})
    figure = drawn([bench], monkeypatch)
    said = texts(figure)
    assert "Phone 5, arm64-v8a; script, 1 thread; 1 refused" in said
    assert {"n/a.tflite", "n/b.tflite", "d.tflite"} <= set(said) and "c.tflite" not in said
    latencies, kinds, modules = figure.axes
    assert [round(bar.get_width()) for bar in latencies.patches] == [10, 20, 40]
    assert {"10.0", "20.0", "40.0"} <= {text.get_text() for text in latencies.texts}
    assert [text.get_text() for text in kinds.texts] == ["3.00", "2.00", "1.50"]
    assert [text.get_text() for text in modules.texts] == ["3.00", "2.00", "1.50"]
    assert {"in the delegate", "outside it"} <= set(said)
    reds = [bar.get_width() for bar in kinds.patches if bar.get_facecolor()[0] > bar.get_facecolor()[2]]
    assert reds == [0, 0, 1.5]


def test_a_legend_stands_only_where_something_is_outside(bench: BenchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = replace(bench, profiles={"n/a.tflite": profile(op("pointwise", 1.0))})
    assert "in the delegate" not in texts(drawn([bench], monkeypatch))


def test_no_text_is_clipped_or_leaves_the_picture(bench: BenchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a/very/long/path/that/goes/on/and/on/" * 3 + "model.float32.tflite"
    many = [op("pointwise", 10.0 + n, f"stages.{n}.a_long_name_of_a_module_that_has_to_be_broken") for n in range(30)]
    first, *others = bench.results
    bench = replace(
        bench,
        device=replace(bench.device, model="A phone with a rather long name, as makers like to give them, " * 3),
        results=(replace(first, file=long), *others),
        profiles={long: profile(*many), "n/b.tflite": profile(op("resize", 1e-5, None, False))},
    )
    emulated = replace(bench, device=replace(bench.device, emulated=True), profiles={})
    nothing = replace(emulated, results=tuple(replace(each, latency_ms=None) for each in bench.results))
    figure = drawn([bench, emulated, nothing], monkeypatch)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    ticks = {label for axis in figure.axes for label in axis.get_xticklabels()}  # some are beyond the axis, not drawn
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in ticks:
            box = text.get_window_extent(renderer)
            assert box.x0 > -1 and box.x1 < width + 1, text.get_text()
            assert box.y0 > -1 and box.y1 < height + 1, text.get_text()
    for axis in figure.axes:
        frame = axis.get_window_extent(renderer)
        for label in axis.texts:
            assert label.get_window_extent(renderer).x1 <= frame.x1, "the figure at a bar's end is inside its frame"
    assert any("emulated: means nothing" in text for text in texts(figure))
    assert any("10 others" in text for text in texts(figure))
    assert any("4 refused" in text for text in texts(figure))


def test_dollars_are_no_mathematics(bench: BenchResult, tmp_path: Path) -> None:
    first, *others = bench.results
    results = (replace(first, file=r"$\foo$ and $x_1$.tflite"), *others)
    bench = replace(bench, results=results, profiles={r"$\frac$": profile(op("pointwise", 1.0, r"$\m$"))})
    draw_bench([bench], tmp_path / "x.svg")
    assert (tmp_path / "x.svg").stat().st_size > 1000


@pytest.mark.parametrize("height", [3.0, 100.0, 2000.0])
def test_very_many_panels_fit_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: float) -> None:
    def write(figure: Figure, _image: Any, dpi: float, **_options: Any) -> None:
        assert dpi * figure.get_figheight() < 2**16, "the most that the renderer takes"

    monkeypatch.setattr(Figure, "savefig", write)
    save(Figure(figsize=(9, height)), tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize("name", ["x.jpg", "x", "x.pdf", ".png"])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"is neither \.png nor \.svg"):
        check_place(Path(name))


def test_a_failure_leaves_the_picture_as_it_was(
    bench: BenchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bench.png"
    path.write_bytes(b"before")

    def fail(_figure: Figure, image: Any, **_options: Any) -> None:
        image.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space"):
        draw_bench([bench], path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir() if "bench" in file.name] == ["bench.png"]
