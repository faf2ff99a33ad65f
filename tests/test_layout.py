"""The tests lie where the package's parts do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT

# What is tested besides the package: documents, scripts, whole models, and the stand-in for a device.
OTHERS = {"", "benchmarks", "docs", "fake_device", "zoo"}
FOLDERS = sorted({path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_each_folder_of_tests_is_one_of_the_packages(folder: Path) -> None:
    name = "" if folder == Path() else str(folder)
    assert name in OTHERS or (ROOT / "mobilekit" / folder).is_dir()
    assert (ROOT / "tests" / folder / "__init__.py").is_file(), "two files of one name would be mistaken for each other"


def test_each_room_has_tests() -> None:
    rooms = {path.parent.name for path in (ROOT / "mobilekit").glob("*/__init__.py")}
    assert rooms <= {folder.parts[0] for folder in FOLDERS if folder.parts}
