"""Exports that are killed, interrupted, out of room, or run twice at once."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mobilekit.store.bundle import find_changes
from tests.command_line import heed_interrupts
from tests.conftest import ROOT, Cli
from tests.tiny import TINY, TINY_RECIPE

pytestmark = pytest.mark.slow

EXPORT = ("export", TINY, "--recipe", str(TINY_RECIPE), "--precision", "float32")
PATIENCE = 120  # seconds; only a fault waits so long

# Most of these tests need TensorFlow's process, and nothing that it does: in this one the conversion sleeps instead.
SLEEPING_CONVERTER = """
import sys, time, types
if "mobilekit.convert.tasks.worker" in sys.orig_argv:
    sleeping = types.ModuleType("mobilekit.convert.tasks.tflite")
    sleeping.run = lambda _request: time.sleep(600)
    sys.modules[sleeping.__name__] = sleeping
"""


@pytest.fixture
def asleep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH whose presence makes the converter sleep."""
    folder = tmp_path_factory.mktemp("asleep")
    (folder / "sitecustomize.py").write_text(SLEEPING_CONVERTER)
    return folder


def start(folder: Path, *options: str, path: Path | None = None, **more: object) -> subprocess.Popen[str]:
    """Start an export to `out` in a folder, with another folder on PYTHONPATH."""
    return subprocess.Popen(
        [sys.executable, "-m", "mobilekit", *EXPORT, "-o", "out", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*([str(path)] if path else []), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"preexec_fn": heed_interrupts, **more},  # type: ignore[call-overload]
    )


def wait_for_worker(process: subprocess.Popen[str], folder: Path) -> psutil.Process:
    """Wait until the converting process of an export in a folder has a file to convert, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if list(folder.rglob("scratch/model.onnx")):
            children = psutil.Process(process.pid).children(recursive=True)
            (worker,) = [child for child in children if "mobilekit.convert.tasks.worker" in child.cmdline()]
            return worker
        time.sleep(0.02)
    raise AssertionError("the export never started its converter")


def is_gone(process: psutil.Process, seconds: float = 15) -> bool:
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_killed_export_leaves_no_bundle_and_no_process(tmp_path: Path, cli: Cli) -> None:
    """The one of these tests that kills TensorFlow itself."""
    process = start(tmp_path, "--no-cache")
    worker = wait_for_worker(process, tmp_path)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out").exists()
    assert is_gone(worker)
    assert [path.name[:13] for path in tmp_path.iterdir()] == [".out.partial-"]
    done = cli(*EXPORT, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert find_changes(tmp_path / "out") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_export_leaves_nothing(number: signal.Signals, code: int, tmp_path: Path, asleep: Path) -> None:
    process = start(tmp_path, "--no-cache", path=asleep)
    worker = wait_for_worker(process, tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert is_gone(worker)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_converter_is_reported(tmp_path: Path, asleep: Path) -> None:
    process = start(tmp_path, "--no-cache", "--strict", path=asleep)
    wait_for_worker(process, tmp_path).kill()
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 4
    assert "killed by SIGKILL" in stderr
    assert "memory" in stderr
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_a_file_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of a file stands for a full disk: the kernel refuses the write in the same places."""
    limit = 1_000  # bytes; the weights take more
    process = start(
        tmp_path, "--no-cache", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 4
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept(tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "out"
    options = ("export", TINY, "--recipe", TINY_RECIPE, "--precision", "float32,int8", "-o", out)
    assert cli(*options).returncode == 0
    before = (out / "manifest.json").read_bytes()
    assert json.loads(cli(*options, "--json").stdout)["up_to_date"] is True
    (out / "notes.txt").write_text("mine")
    noted = cli(*options)
    assert noted.returncode == 2
    assert "holds this export, changed since (notes.txt is not in the manifest); it is kept" in noted.stderr
    (out / "notes.txt").unlink()
    other = cli(*options, "--precision", "float32")
    assert other.returncode == 2
    assert "holds another export; it is kept" in other.stderr
    assert "--force" in other.stderr
    assert (out / "manifest.json").read_bytes() == before
    forced = cli(*options, "--precision", "float32", "--force")
    assert forced.returncode == 0
    assert "converting to TFLite" in forced.stderr, "what the cache has is made anew"
    assert f"{out} is written:" in forced.stdout
    assert not (out / "model.int8.tflite").exists()
    shutil.rmtree(out)
    assert f"{out} comes out of the cache" in cli(*options).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_exports_at_once_agree(tmp_path: Path) -> None:
    cache = {**os.environ, "PYTHONPATH": str(ROOT), "MOBILEKIT_CACHE": str(tmp_path / "cache")}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "mobilekit", *EXPORT, "-o", name],
            cwd=tmp_path,
            env=cache,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    for process in both:
        assert process.wait(300) == 0, process.stderr and process.stderr.read()
    assert find_changes(tmp_path / "one") == find_changes(tmp_path / "two") == []
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two"))
    assert one["request"] == two["request"]
    assert not list((tmp_path / "cache").rglob(".*partial*"))
