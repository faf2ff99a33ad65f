"""The Python functions, and the examples in their documents."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import mobilekit
from mobilekit import api
from mobilekit.errors import UsageError
from tests.conftest import ROOT


def test_docstrings_run() -> None:
    result = doctest.testmod(api)
    assert (result.failed, result.attempted > 4) == (0, True)


@pytest.mark.slow
def test_the_document_runs(digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the digits exported already, so that the example's export comes from the cache."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert (result.failed, result.attempted > 8) == (0, True)


def test_every_function_is_there_and_nothing_heavy_is_loaded_before() -> None:
    code = (
        "import sys, mobilekit; assert 'torch' not in sys.modules;"
        "print(all(callable(getattr(mobilekit, name)) for name in mobilekit.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert mobilekit.load_recipe("ghostnet").name == "ghostnet"
    with pytest.raises(AttributeError, match="has no attribute 'exprot'"):
        mobilekit.exprot  # type: ignore[attr-defined]  # noqa: B018


def test_errors_are_those_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown precision flot16"):
        mobilekit.export("ghostnetv2", precision=["flot16"], output=tmp_path / "out")
    with pytest.raises(UsageError, match="not a bundle"):
        mobilekit.diff(tmp_path)
    with pytest.raises(UsageError, match="no option widht"):
        mobilekit.load_model("ghostnet", widht=0.5)
    assert list(tmp_path.iterdir()) == []
