"""The program in Python: what it makes of pictures, and that its golden test can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from mobilekit.bench.devices import emulator_setup
from mobilekit.jobs.app_project.write import rendered
from mobilekit.recipes.inputs.preprocess import preprocess
from mobilekit.recipes.picture import Input
from tests.command_line import Cli, Said
from tests.jobs.app_project.facts import SPECS, make_facts, picture_module


@pytest.fixture(scope="module")
def project(tiny_bundle: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with names of the classes. Tests must not change it."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "labels.txt").write_text("cat\ndog\nbird and fish\nnone\n")
    done = cli("app", "python", tiny_bundle, "-o", folder / "app", "--labels", folder / "labels.txt", "--name", "Tiny")
    assert done.returncode == 0, done.stderr
    assert (folder / "app" / "README.md").read_text().startswith("# Tiny in Python\n")
    return folder / "app"


def run(folder: Path, *words: str | Path) -> Said:
    """Run Python in a project, as its user does, without this package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return Said(done.returncode, done.stdout, done.stderr)


def test_its_own_tests_pass(project: Path) -> None:
    done = run(project, "-m", "unittest", "-v")
    assert done.returncode == 0, done.stderr
    assert "Ran 3 tests" in done.stderr


@pytest.mark.parametrize("file", ["model.float32.tflite", "model.int8.tflite"])
def test_it_says_what_litert_says(project: Path, file: str) -> None:
    content = json.loads((project / "goldens" / "goldens.json").read_text())
    case = content["cases"][0]
    done = run(project, "app.py", Path("goldens") / case["picture"], "--file", file, "--runs", "3")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith(f"goldens/{case['picture']}: picture ") and head.endswith("(median of 3)")
    runs = Interpreter(str(project / "model" / file))
    runs.allocate_tensors()
    runs.set_tensor(runs.get_input_details()[0]["index"], np.load(project / "goldens" / case["inputs"][file]["input"]))
    runs.invoke()
    (output,) = runs.get_output_details()
    scale, zero_point = output["quantization"]
    scores = runs.get_tensor(output["index"])[0].astype(np.float64)
    scores = (scores - zero_point) * scale if scale else scores
    names = ["cat", "dog", "bird and fish", "none"]
    expected = sorted(zip(scores, names, strict=True), key=lambda each: -each[0])
    assert [line.split(maxsplit=1)[1] for line in lines] == [name for _, name in expected]
    assert [float(line.split()[0]) for line in lines] == pytest.approx([score for score, _ in expected], abs=6e-5)


def test_its_golden_test_can_fail(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    assert cli("app", "python", tiny_bundle, "-o", folder, "--precision", "int8,float32").returncode == 0
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["model.float32.tflite", "model.int8.tflite"]
    content = json.loads((folder / "goldens" / "goldens.json").read_text())
    path = folder / "goldens" / content["cases"][1]["expected"]["model.int8.tflite"]["logits"]
    off = np.load(path)
    off[0, 0] += 40
    np.save(path, off)
    done = run(folder, "-m", "unittest")
    assert done.returncode == 1
    assert "[model.int8.tflite, case-1, logits: relative_l2 " in done.stderr and "failures=1" in done.stderr


def test_its_picture_test_can_fail(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    assert cli("app", "python", tiny_bundle, "-o", folder, "--precision", "float32").returncode == 0
    code = (folder / "picture.py").read_text()
    assert code.count("Resampling.BICUBIC") == 1
    (folder / "picture.py").write_text(code.replace("Resampling.BICUBIC", "Resampling.BILINEAR"))
    done = run(folder, "-m", "unittest")
    assert done.returncode == 1 and "levels of 255]" in done.stderr


def test_the_goldens_are_of_the_projects_own_files(project: Path, cli: Cli) -> None:
    done = cli("goldens", "check", project / "goldens", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 4 * 2


def test_files_that_cannot_be_read_are_told(project: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    for path in (tmp_path / "text.jpg", tmp_path / "nothing.png"):
        done = run(project, "app.py", path)
        assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(f"{path} cannot be read: ")
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(emulator_setup.find_problem() is not None, reason="the emulated device is not set up")
def test_its_golden_test_passes_on_arm(project: Path) -> None:
    words = ["-m", "unittest", "-v", "test_goldens"]  # the other needs Pillow
    command = emulator_setup.command(emulator_setup.folder(), words, [str(project)])
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", SPECS)
def test_a_picture_becomes_what_the_recipe_makes_of_it(kind: str) -> None:
    spec = Input.model_validate({**SPECS[kind], "dtype": "uint8"})
    picture = picture_module(SPECS[kind])
    random = np.random.default_rng(0)
    for width, height in ((97, 64), (50, 83), (61, 61)):
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).convert("RGBA")
        image.putalpha(Image.fromarray(random.integers(0, 256, (height, width), np.uint8)))
        exif = image.getexif()
        exif[0x112] = 6
        image.info["exif"] = exif.tobytes()
        expected = preprocess(image, spec).transpose(1, 2, 0)
        expected = expected[..., ::-1] if spec.color == "bgr" else expected
        np.testing.assert_array_equal(picture.pixels_of(image), expected)


def test_gray_pictures_of_more_bits_are_not_cut_at_255(tmp_path: Path) -> None:
    picture = picture_module(SPECS["gray"])
    path = tmp_path / "deep.png"
    levels = np.linspace(0, 65535, 60 * 80).reshape(60, 80)
    Image.fromarray(levels.astype(np.uint16)).save(path)
    with Image.open(path) as image:
        assert image.mode == "I;16"
        expected = preprocess(image, Input.model_validate({**SPECS["gray"], "dtype": "uint8"}))
    assert 120 < expected.mean() < 135
    np.testing.assert_array_equal(picture.read(path), expected.transpose(1, 2, 0))
    with pytest.raises(OSError, match="nothing says which of them is white"):
        picture.pixels_of(Image.fromarray(levels.astype(np.float32)))


def test_no_number_of_threads_ends_in_a_traceback(project: Path) -> None:
    done = run(project, "app.py", Path("goldens") / "case-0" / "picture.png", "--threads", "0", "--runs", "1")
    assert done.returncode == 0, done.stderr


def test_what_is_generated_is_clean(tmp_path: Path) -> None:
    endings: list[tuple[tuple[int, ...], tuple[str, ...]]] = [((1, 4), ()), ((1, 4), tuple("abcd")), ((1, 3, 8, 8), ())]
    for number, (kind, (outputs, labels)) in enumerate(product(SPECS, endings)):
        (tmp_path / str(number)).mkdir()
        for path, text in rendered("python", make_facts("python", SPECS[kind], outputs, labels)):
            (tmp_path / str(number) / path).write_text(text)
            assert "\n\n\n\n" not in text and text.endswith("\n") and not text.endswith("\n\n"), path
    for words in (["check", "--select", "E,F,I,UP,B", "--config", 'src = ["*"]'], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *words, "--isolated", "--line-length", "120"]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
