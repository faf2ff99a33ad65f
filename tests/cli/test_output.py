"""What the command line prints is as it was written, and says what goes on as it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from mobilekit.cli import output
from mobilekit.cli.output import check_outputs, err, fail, out, progress
from mobilekit.errors import UsageError

OTHERS = "[bold]nets[/bold]/:boom:[/nothing].py [red] 1.5 'x' http://a.b"


def test_text_in_brackets_and_colons_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    out.print(OTHERS)
    table = Table(OTHERS, box=None)
    table.add_row(OTHERS)
    out.print(table)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [OTHERS] * 3
    fail(OTHERS, OTHERS)
    err.print(OTHERS, style="bold")
    assert capsys.readouterr().err == f"error: {OTHERS}\n{OTHERS}\n{OTHERS}\n"


def test_output_that_nobody_reads_ends_as_in_other_tools() -> None:
    code = "from mobilekit.cli.output import out, print_json\n"
    for line in ("out.print('x' * 200_000)", "print_json('x' * 200_000)"):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([sys.executable, "-c", code + line], stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")


def test_nor_is_it_in_the_line_that_says_what_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.time, "monotonic", lambda: 10.0)
    step = output._Step(OTHERS)
    assert step.__rich__().plain == OTHERS
    monkeypatch.setattr(output.time, "monotonic", lambda: 72.4)
    assert step.__rich__().plain == f"{OTHERS} (62 s)"
    step.start("next")
    assert step.__rich__().plain == "next"


def test_a_pipe_hears_of_each_step_as_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("exporting") as tell:
        assert capsys.readouterr().err == "", "a request that is refused is answered by its error alone"
        tell(f"rewrite {OTHERS}")
        assert capsys.readouterr().err == f"rewrite {OTHERS}\n"
        for number in range(3):
            tell(f"round {number + 1} of 3: a.tflite")
            tell(f"resting {3 - number} s")
        assert capsys.readouterr() == ("", "round 1 of 3: a.tflite\nresting 3 s\n")
        tell("measuring tflite-float32")
        tell("measuring tflite-float16")
    assert capsys.readouterr() == ("", "measuring tflite-float32\nmeasuring tflite-float16\n")


def test_no_figure_is_cut_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(box=None)
    for _ in range(6):
        table.add_column("a column of figures", justify="right", no_wrap=True)
    table.add_row(*["1,230,080"] * 6)
    monkeypatch.setattr(output, "out", Console(width=40))
    output.print_whole(table)
    assert capsys.readouterr().out.count("1,230,080") == 6


def test_files_are_written_over_nothing_that_is_read_and_into_no_bundle(tmp_path: Path) -> None:
    model, bundle = tmp_path / "model.tflite", tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    for outputs, said in (
        ((model,), "is read, and would be written over"),
        ((tmp_path / "a.json", None, tmp_path / "x" / ".." / "a.json"), "Two files would be written"),
        ((bundle / "manifest.json",), "lies in the bundle"),
    ):
        with pytest.raises(UsageError, match=said):
            check_outputs(outputs, (model, None))
    check_outputs((tmp_path / "a.json", tmp_path / "b.json"), (model, bundle))
