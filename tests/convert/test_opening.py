"""A file at which LiteRT would end the process is not written, so that it is known which one it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.convert.network import Network
from mobilekit.convert.opening import open_once
from mobilekit.convert.process import explain
from mobilekit.convert.tasks import tflite
from mobilekit.store.worker import WorkerError
from tests.tflite_by_hand import make_tflite

CONTENT = make_tflite([("MUL", ["x", "x"], "y")], (1, 2, 2, 3), ["y"])


class Ended(BaseException):
    """In place of a process's end."""


def test_the_file_at_fault_is_the_one_that_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_content: bytes, name: str) -> None:
        if name == "float16":
            raise Ended

    monkeypatch.setattr(tflite, "open_once", end)
    files = {precision: str(tmp_path / precision) for precision in ("float32", "float16", "dynamic")}
    with pytest.raises(Ended):
        tflite._files(
            Network({}, lambda: CONTENT, lambda: CONTENT), {"begun": str(tmp_path / "begun"), "files": files}, []
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "float32"]


def test_what_litert_refuses_with_words_is_left_to_the_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    open_once(CONTENT, "float32")
    open_once(CONTENT[:40] + bytes(len(CONTENT) - 40), "int8")
    assert capsys.readouterr().err.startswith("LiteRT opens the float32 file\nLiteRT opens the int8 file\n")


def test_an_end_at_a_file_is_told_as_such(tmp_path: Path) -> None:
    log = "Traceback of the first way\nRuntimeError\nLiteRT opens the int8 file\nINFO: Created XNNPACK delegate.\n"
    error = explain("tflite", WorkerError("RuntimeError", -6, log=log), tmp_path)
    assert error.what == "LiteRT ended its process (SIGABRT) as it opened the int8 file, and said nothing."
    elsewhere = explain("tflite", WorkerError("no room", -6, log=f"{log}onnx2tf\nerror: no room\n"), tmp_path)
    assert "it was killed by SIGABRT; its last words: no room" in elsewhere.what
