"""The set-up that the Makefile does by itself, and the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAKE = shutil.which("make") or "make"


def fake_checkout(folder: Path) -> None:
    """Copy what the set-up reads, with a set-up script that only notes that it ran."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".ci").mkdir()
    (folder / ".ci" / "setup").write_text('echo ran >> log\nmkdir -p "$1"\n')


def ran(folder: Path) -> int:
    subprocess.run([MAKE, "setup"], cwd=folder, check=True, capture_output=True)
    return len((folder / "log").read_text().splitlines())


def test_set_up_runs_once_and_again_only_when_pins_change(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    assert ran(tmp_path) == 1
    assert ran(tmp_path) == 1
    os.utime(tmp_path / "constraints.txt", (2**31, 2**31))
    assert ran(tmp_path) == 2


def test_a_failed_set_up_is_done_again(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    (tmp_path / ".ci" / "setup").write_text('mkdir -p "$1"\nexit 3\n')
    assert subprocess.run([MAKE, "setup"], cwd=tmp_path, capture_output=True).returncode != 0
    assert not (tmp_path / ".venv" / ".installed").exists()


def test_a_machine_without_python_3_11_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")  # a Python of another version
    (tmp_path / "python3").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / ".ci" / "setup"), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "needs Python 3.11" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_every_pin_is_exact() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert "torch==2.13.0" in lines
    assert "onnx2tf==1.29.24" in lines


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_can_export(tmp_path: Path) -> None:
    """The wheel in a folder of its own, with the dependencies of this environment and nothing of the checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert "export_recipes/ghostnetv2.yaml" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    # Without the site-packages' own .pth files: they would bring the checkout back.
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PYTHONPATH": os.pathsep.join([str(site), sysconfig.get_path("purelib")]),
    }
    program = [sys.executable, "-S", "-c"]
    where = subprocess.run(
        [*program, "import mobilekit, export_recipes; print(mobilekit.__file__, export_recipes.__file__)"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.count(str(site)) == 2
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mobilekit", "export", "ghostnetv2_digits", "--precision", "float32", "-o", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.float32.tflite").stat().st_size > 1_000_000
