"""The benchmark of consumers: its rows, its tables, and a consumer that is a script."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import venvs
from benchmarks.consumers import __main__ as consumers
from benchmarks.consumers import report
from benchmarks.consumers.catalogue import CONSUMERS
from benchmarks.consumers.kept import with_kept
from benchmarks.consumers.programs import PROGRAMS
from benchmarks.tables import DOCS
from mobilekit.store.stages import Stage

HERE = Path(consumers.__file__).parent
ORT = next(each for each in CONSUMERS if each.module == "onnxruntime")


def row(model: str, file: str = "model.onnx", consumer: str = ORT.name, **found: Any) -> dict[str, Any]:
    return {"consumer": consumer, "model": model, "file": file, "packages": ["p==1"], "date": "2026-01-02", **found}


def test_each_consumer_is_a_file_with_pinned_packages_that_reads_what_a_bundle_has() -> None:
    for each in CONSUMERS:
        assert (HERE / f"{each.module}_consumer.py").is_file()
        assert all("==" in package for package in (*each.packages, *each.alone, *each.npm))
        assert set(each.files) <= {stage.file for stage in Stage} | set(PROGRAMS)
        assert set(each.files) <= set(report.FILES)
    modules = {f"{each.module}_consumer" for each in CONSUMERS}
    assert {path.stem for path in HERE.glob("*_consumer.py")} == modules


def test_tables_say_how_far_what_is_refused_and_why() -> None:
    text = report.document(
        [
            row("ghostnet", cosine=1.0, max_abs=1e-6),
            row("shufflenet", cosine=0.5, max_abs=2.0),
            row("vgg", cosine=-1.0, max_abs=math.nan),
            row("vit", refused="exit code 1: no | op in /a/b/model.onnx"),
            row("ghostnet", "model.int8.tflite", "Vela, u55-256", told="CPU operators = 27"),
            row("shufflenet", "model.int8.tflite", "Vela, u55-256", refused="exit code 1: no | op in /c/model.onnx"),
        ]
    )
    assert "| ONNX Runtime | 1.000000, 1.0e-06 | **0.500000, 2.0e+00** | **not finite** | refused (1) |" in text
    assert "| Vela, u55-256 | compiles; CPU operators = 27 | refused (1) | - | - |" in text
    assert "- **1**: exit code 1: no / op in model.onnx" in text
    assert text.startswith("Measured 2026-01-02.")


def test_what_was_measured_before_stays_and_is_replaced_by_its_place() -> None:
    page = (DOCS / "consumers.md").read_text()
    before = report.document(with_kept([], page))
    assert f"{before}\n<!-- end -->" in page
    again = row("ghostnet", "model.int8.tflite", "Vela, u55-256", told="CPU operators = 3", date="2026-12-24")
    after = report.document(with_kept([{**again, "packages": ["ethos-u-vela==9"]}], page))
    was = "compiles; CPU operators = 27 | compiles; CPU operators = 27 |"
    assert was in before
    assert after.count(was.replace("27", "3", 1)) == 1
    assert " to 2026-12-24." in after and "ethos-u-vela==9" in after


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers run by this Python, with what it has."""
    monkeypatch.setattr(venvs, "make", lambda *_: Path(sys.executable))


@pytest.mark.usefixtures("here")
def test_a_file_is_measured_and_not_again(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = type("Options", (), {"consumers": ["onnxruntime"], "bundles": [tiny_bundle], "work": tmp_path})
    options.again = False  # type: ignore[attr-defined]
    consumers.run(options)  # type: ignore[arg-type]
    [found] = consumers.rows_of(tmp_path)
    assert found["cosine"] > 0.999999 and found["max_abs"] < 1e-4
    assert "ONNX Runtime" in capsys.readouterr().out
    consumers.run(options)  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("here")
def test_a_consumer_that_is_not_there_is_a_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("MNN"):
        pytest.skip("MNN is installed here")
    mnn = next(each for each in CONSUMERS if each.module == "mnn")
    found = consumers.measure(mnn, tiny_bundle, tiny_bundle / Stage.TFLITE_FLOAT32.file, tmp_path)
    assert found["refused"] == "exit code 1: ModuleNotFoundError: No module named 'MNN'"


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def note(words: list[object], check: bool) -> None:
        ran.append([str(word) for word in words])
        folder.mkdir(exist_ok=True)

    folder = tmp_path / "a"
    monkeypatch.setattr(venvs.subprocess, "run", note)
    for packages in (("x==1",), ("x==1",), ("x==2",)):
        assert venvs.make(folder, packages, ("y==1",)) == folder / "bin" / "python"
    assert [words[-1] for words in ran] == [str(folder), "x==1", "y==1", str(folder), "x==2", "y==1"]
    assert [("--no-deps" in words) for words in ran] == [False, False, True] * 2
