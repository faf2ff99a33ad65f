"""Files that take a picture's bytes give what the net gives for the normalized picture, in every precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import Cli
from tests.tflite_faults import with_larger_weights
from tests.tiny import TINY, Tiny

MEAN, STD = np.array([0.5, 0.25, 0.125]), np.array([0.25, 0.5, 0.125])
LARGEST_ERROR = {"float32": 1e-6, "dynamic": 1e-6, "float16": 2e-3, "int8": 0.02}
"""Relative L2. The net's layers are too small for dynamic-range weights."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A bundle of the tiny net with bytes as input, measured and calibrated on pictures of the input's size."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "photos").mkdir()
    for number, picture in enumerate(pictures()):
        Image.fromarray(picture).save(folder / "photos" / f"{number}.png")
    where = ("--calibration", folder / "photos", "--inputs", folder / "photos", "-o", folder / "out")
    numbers = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--crop", "1")
    done = cli("export", TINY, "--input-size", "32x24", "--input-dtype", "uint8", *numbers, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "std 0.25 0.5 0.125, inside the files, which take bytes" in done.stdout
    return folder / "out"


def pictures() -> NDArray[np.uint8]:
    """Return pictures (8, 32, 24, 3), some dark and some bright, none of which has all values."""
    draw = np.random.default_rng(0)
    return np.stack([draw.integers(20 * n, 20 * n + 100, (32, 24, 3), np.uint8) for n in range(8)])


def expected(bundle: Path) -> NDArray[np.float64]:
    """Return what the net gives in float64 for the pictures, normalized by hand."""
    from safetensors.torch import load_file

    net = Tiny().eval()
    net.load_state_dict(load_file(bundle / "stages" / "reference.safetensors"))
    normal = ((pictures() / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    with torch.no_grad():
        made: NDArray[np.float64] = net.double()(torch.from_numpy(normal)).numpy()
    return made


def error(made: NDArray[Any], right: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(made - right) / np.linalg.norm(right))


@pytest.mark.slow
@pytest.mark.parametrize("precision", LARGEST_ERROR)
def test_tflite_files_are_right_on_bytes(bundle: Path, precision: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(bundle / f"model.{precision}.tflite"))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], taken["shape"].tolist()) == (np.uint8, [1, 32, 24, 3])
    assert taken["quantization"] == (1.0, 0), "an app that reads scale and zero point passes the same bytes"
    rows = []
    for picture in pictures():
        interpreter.set_tensor(taken["index"], picture[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"]))
    made, (scale, zero_point) = np.concatenate(rows), given["quantization"]
    made = (made.astype(np.float64) - zero_point) * scale if scale else made
    assert error(made, expected(bundle)) < LARGEST_ERROR[precision]


@pytest.mark.slow
def test_the_onnx_file_is_right_on_bytes(bundle: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.type, taken.shape) == ("tensor(uint8)", [1, 3, 32, 24])
    rows = [session.run(None, {"input": picture[None]})[0] for picture in pictures().transpose(0, 3, 1, 2)]
    assert error(np.concatenate(rows), expected(bundle)) < 1e-6


@pytest.mark.slow
def test_it_is_told_and_measured_like_any_other(bundle: Path, cli: Cli) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["input"]["dtype"] == "uint8"
    assert manifest["recipe"]["content"]["input"]["dtype"] == "uint8"
    assert {one["dtype"] for file in manifest["artifacts"].values() for one in file["inputs"]} == {"uint8"}
    done = cli("diff", bundle, "--reference", TINY, "--layers", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    paths = [row["module"] for row in json.loads(done.stdout)["layers"]["stages"][1]["layers"]]
    assert paths[:2] == ["input_normalization", "stem.0"]
    for precision in LARGEST_ERROR:
        found = json.loads(cli("inspect", bundle / f"model.{precision}.tflite", "--json").stdout)["delegate"]
        assert found["partitions"] == 1
        assert found["undelegated"] == []


@pytest.mark.slow
def test_a_fault_is_found_in_a_file_of_bytes(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(bundle, wrong)
    file = wrong / "model.float32.tflite"
    file.write_bytes(with_larger_weights(file.read_bytes(), "FULLY_CONNECTED"))
    done = cli("diff", wrong, "--reference", TINY, "--bisect", tmp_path / "fault")
    assert done.returncode == 1, done.stdout + done.stderr
    first = next(line for line in done.stdout.splitlines() if "head" in line)
    assert "stem" not in first
    assert "in the candidate: FULLY_CONNECTED" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--channels", "5"), "dtype uint8 is for pictures, whose bytes have a mean and a std, and not for arrays"),
        (("--input-dtype", "int8"), "--input-dtype: Input should be 'float32' or 'uint8'"),
    ],
)
def test_what_has_no_bytes_is_refused(tmp_path: Path, cli: Cli, options: tuple[str, str], said: str) -> None:
    given = {"--input-dtype": "uint8"} | {options[0]: options[1]}
    done = cli("export", TINY, *(word for pair in given.items() for word in pair), "-o", tmp_path / "out")
    assert done.returncode == 2
    assert said in done.stderr


def test_arrays_that_are_normalized_already_are_refused(tmp_path: Path, cli: Cli) -> None:
    np.savez(tmp_path / "a.npz", input=np.zeros((2, 3, 32, 32), np.float32) - 0.5)
    given = ("--input-size", "32", "--input-dtype", "uint8", "--calibration", tmp_path / "a.npz")
    done = cli("export", TINY, *given, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "holds values of -0.5 to -0.5 as input, and the model takes bytes" in done.stderr
