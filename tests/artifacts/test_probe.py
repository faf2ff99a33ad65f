"""A file that LiteRT might crash on is opened in another process first. None that it does crash on is kept here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mobilekit.artifacts.analysis import probe
from mobilekit.errors import ToolError
from mobilekit.store.worker import WorkerError
from tests.command_line import Cli
from tests.conftest import ROOT

SMALL = ROOT / "tests" / "data" / "lab_session" / "small.tflite"


def test_a_whole_file_survives() -> None:
    probe.check_survives(SMALL)


def test_what_litert_refuses_in_words_is_left_to_who_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(SMALL.read_bytes()[:1000])
    probe.check_survives(path)


def test_other_files_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(probe, "run_json_worker")
    probe.check_survives(tmp_path / "missing.tflite")
    (tmp_path / "a.onnx").write_bytes(b"")
    probe.check_survives(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (WorkerError("it said nothing", -11), "LiteRT was ended by SIGSEGV"),
        (WorkerError("it said nothing", -6), "LiteRT was ended by SIGABRT"),
        (WorkerError("it said nothing", is_late=True), "LiteRT took more than 60 s to open it"),
    ],
    ids=["crash", "abort", "hang"],
)
def test_a_crash_is_told_in_two_lines(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: WorkerError, words: str
) -> None:
    def die(*_arguments: Any, **_more: Any) -> None:
        raise error

    monkeypatch.setattr(probe, "run_json_worker", die)
    with pytest.raises(ToolError, match=words):
        probe.check_survives(SMALL)
    for command in (("inspect", SMALL), ("diff", "--reference", "ghostnetv2", "--candidate", SMALL)):
        said = cli(*command)
        lines = [line for line in said.stderr.splitlines() if "opening" not in line]
        assert (said.returncode, len(lines)) == (4, 2)
        assert words in lines[0] and "convert or export it again" in lines[1]
