"""Which of mobilekit's own sources make a bundle another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mobilekit.store import versions
from tests.conftest import ROOT


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that `source_digest` looks at."""
    folder = tmp_path / "mobilekit"
    shutil.copytree(ROOT / "mobilekit", folder, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    monkeypatch.setattr(versions, "__file__", str(folder / "store" / "versions.py"))
    return folder


@pytest.mark.parametrize(
    ("changed", "is_another"),
    [
        ("models/families/ghostnet.py", True),
        ("parity/ledger/limits.py", True),
        ("jobs/export.py", True),
        ("bench/session.py", False),
        ("cli/app.py", False),
        ("jobs/doctor.py", False),
    ],
)
def test_a_bundle_is_another_one_where_code_that_shapes_it_changed(copy: Path, changed: str, is_another: bool) -> None:
    before = versions.source_digest(versions.BUNDLE_ROOMS)
    with (copy / changed).open("a") as file:
        file.write("\n")
    assert (versions.source_digest(versions.BUNDLE_ROOMS) != before) == is_another


def test_a_part_has_a_digest_of_its_own(copy: Path) -> None:
    before = versions.source_digest(["convert"])
    (copy / "models/families/ghostnet.py").unlink()
    assert versions.source_digest(["convert"]) == before
    (copy / "convert/onnx.py").rename(copy / "convert/onnx_export.py")
    assert versions.source_digest(["convert"]) != before
