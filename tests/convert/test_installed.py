"""What is said where the converters are not installed: two lines, before any work."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from mobilekit.convert import installed
from mobilekit.errors import ToolError
from tests.command_line import run_here
from tests.tiny import TINY, TINY_RECIPE


@pytest.fixture
def without_onnx2tf(monkeypatch: pytest.MonkeyPatch) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name in ("onnx2tf", "tensorflow", "tensorflow-cpu"):
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)


def test_this_environment_has_them() -> None:
    installed.check_installed()


def test_an_export_without_them_ends_at_once_with_two_lines(without_onnx2tf: None, tmp_path: Path) -> None:
    said = run_here("export", TINY, "--recipe", TINY_RECIPE, "-o", tmp_path / "out")
    assert said.returncode == 4
    assert said.stderr.splitlines()[-2:] == [
        "error: The converters are not installed: onnx2tf, tensorflow.",
        "In mobilekit's folder: pip install '.[convert]', or make setup.",
    ]
    assert not (tmp_path / "out").exists()


def test_a_python_without_converters_is_told(without_onnx2tf: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 1))
    with pytest.raises(ToolError) as raised:
        installed.check_installed()
    told = "Export with Python 3.11 to 3.13, for which there are converters; all else works with 3.14."
    assert raised.value.hint == told


def test_tensorflow_is_imported_ahead_where_it_is_sure_to_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "installed_version", lambda _package: "2.6.9")
    assert "tensorflow" not in installed.imported()
    monkeypatch.setattr(installed, "installed_version", lambda _package: "1.29.24")
    assert "tensorflow" in installed.imported()
