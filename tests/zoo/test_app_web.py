"""The project for the web in headless Chromium, with its packages from npm."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.command_line import Cli
from tests.tiny import TINY, TINY_RECIPE

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm"),
    pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="needs Chromium or Chrome"),
]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def project(tiny_bundle: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its packages."""
    folder = tmp_path_factory.mktemp("web") / "app"
    done = cli("app", "web", tiny_bundle, "-o", folder)
    assert done.returncode == 0, done.stderr
    installed = run(folder, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
    if installed.returncode != 0:
        pytest.skip(f"npm gets no packages: {installed.stderr.strip().splitlines()[-1:]}")
    return folder


def test_the_golden_test_passes(project: Path) -> None:
    done = run(project, "npm", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^pass (case-\d) (\S+) logits \((.+)\): (\w+) (\S+), limit", done.stdout, re.MULTILINE)
    runtimes = {file: runtime for _, file, runtime, _, _ in rows}
    names = ("float32", "float16", "dynamic")
    assert runtimes == {"model.onnx": "ONNX Runtime Web"} | {f"model.{name}.tflite": "LiteRT.js" for name in names}
    assert len(rows) == 4 * 2
    assert all(float(value) < 1e-5 for *_, metric, value in rows if metric == "max_abs")
    drifts = re.findall(r"pixels (\S+) levels of 255 off", done.stdout)
    assert len(drifts) == 4 * 2 and all(float(drift) < 0.1 for drift in drifts)
    assert len(re.findall(r"^pass case-\d, from its picture \S+ pixels", done.stdout, re.MULTILINE)) == 4 * 2


def test_nothing_is_lost_from_the_picture_to_a_file_that_takes_frames(project: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("--recipe", TINY_RECIPE, "--input-from", "frame:240x320", "--crop", "1", "--precision", "float32")
    assert cli("export", TINY, *words, "-o", tmp_path / "bundle").returncode == 0
    assert cli("app", "web", tmp_path / "bundle", "-o", tmp_path / "app").returncode == 0
    (tmp_path / "app" / "node_modules").symlink_to(project / "node_modules")
    done = run(tmp_path / "app", "npm", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^pass (.*) (\S+) logits \(.+\): max_abs (\S+), limit", done.stdout, re.MULTILINE)
    files = ("model.float32.tflite", "model.onnx")
    names = [name for case in ("case-0", "case-1") for name in (case, f"{case}, from its picture")]
    assert sorted(row[:2] for row in rows) == sorted((name, file) for name in names for file in files)
    assert all(float(value) < 1e-5 for *_, value in rows)
    assert re.findall(r"pixels (\S+) levels of 255 off \(largest (\S+)\)", done.stdout) == [("0.00", "0")] * 4


def test_the_golden_test_can_fail(project: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "app", symlinks=True))
    content = json.loads((folder / "goldens" / "goldens.json").read_text())
    path = folder / "goldens" / content["cases"][1]["expected"]["model.onnx"]["logits"]
    np.save(path, np.load(path) + np.float32(1e-4))
    done = run(folder, "npm", "test")
    assert done.returncode == 1
    failed = re.findall(r"^FAIL (.*) logits", done.stdout, re.MULTILINE)
    assert failed[0] == "case-1 model.onnx"
    assert set(failed[1:]) <= {"case-1, from its picture model.onnx"}  # where no pixel is off


def test_quantized_onnx_files_give_what_they_give_here(project: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("--recipe", TINY_RECIPE, "--precision", "float32,onnx-int8,onnx-int16x8")
    assert cli("export", TINY, *words, "-o", tmp_path / "bundle").returncode == 0
    assert cli("app", "web", tmp_path / "bundle", "-o", tmp_path / "app").returncode == 0
    (tmp_path / "app" / "node_modules").symlink_to(project / "node_modules")
    done = run(tmp_path / "app", "npm", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^pass case-\d (\S+) logits \((.+)\): (\w+) (\S+), limit (\S+)", done.stdout, re.MULTILINE)
    quantized = {file: (runtime, metric) for file, runtime, metric, *_ in rows if file.endswith(("8.onnx", "x8.onnx"))}
    assert quantized == dict.fromkeys(("model.int8.onnx", "model.int16x8.onnx"), ("ONNX Runtime Web", "relative_l2")), (
        done.stdout
    )
