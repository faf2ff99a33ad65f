"""Files that take an app's frame give what the net gives for the frame cropped, scaled and normalized by hand."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mobilekit.targets.gpu import GPU
from mobilekit.targets.vela import Vela
from tests.conftest import Cli
from tests.models.test_frame import by_matrices, frame_of
from tests.tiny import TINY, Tiny

MEAN, STD = np.array([0.5, 0.25, 0.125]), np.array([0.25, 0.5, 0.125])
LARGEST_ERROR = {"float32": 1e-6, "dynamic": 1e-6, "float16": 2e-3, "int8": 0.03}
"""Relative L2. The net's layers are too small for dynamic-range weights."""
SIZE, FRAME, CROP = (32, 24), (80, 56), 0.75
"""Of 80x56 the middle 56x42 is kept, 7/4 pixels for one."""
PART = frame_of(rows=(80, 32, Fraction(12), Fraction(7, 4)), columns=(56, 24, Fraction(7), Fraction(7, 4)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A bundle of the tiny net that takes frames, measured and calibrated on frames."""
    folder = tmp_path_factory.mktemp("frames")
    (folder / "photos").mkdir()
    for number, frame in enumerate(frames()):
        Image.fromarray(frame).save(folder / "photos" / f"{number}.png")
    where = ("--calibration", folder / "photos", "--inputs", folder / "photos", "-o", folder / "out")
    numbers = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--crop", CROP)
    sizes = ("--input-size", "{}x{}".format(*SIZE), "--input-from", "frame:{}x{}".format(*FRAME))
    done = cli("export", TINY, *sizes, *numbers, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "32x24 of a frame of 80x56, scaled inside the files by 0.1 million multiplications" in done.stdout
    assert "million multiplications (--input-size, --input-from)" in done.stdout
    assert "model.int8.tflite rounds the picture to whole levels after each pass of scaling" in done.stdout
    return folder / "out"


def frames() -> NDArray[np.uint8]:
    """Return frames (8, 80, 56, 3) of large and small patches, at whose edges bicubic scaling overshoots."""
    draw = np.random.default_rng(0)
    patches = [draw.integers(0, 256, (2, 80 // side + 1, 56 // side + 1, 3)) for side in (1, 3, 8, 20)]
    large = [each.repeat(side, 1).repeat(side, 2) for each, side in zip(patches, (1, 3, 8, 20), strict=True)]
    return np.concatenate([each[:, : FRAME[0], : FRAME[1]] for each in large]).astype(np.uint8)


def expected(bundle: Path) -> NDArray[np.float64]:
    """Return what the net gives in float64 for the frames, scaled by dense matrices and normalized by hand."""
    from safetensors.torch import load_file

    net = Tiny().eval()
    net.load_state_dict(load_file(bundle / "stages" / "reference.safetensors"))
    small = by_matrices(PART, frames().transpose(0, 3, 1, 2).astype(np.float64))
    normal = (small / 255 - MEAN[:, None, None]) / STD[:, None, None]
    with torch.no_grad():
        made: NDArray[np.float64] = net.double()(torch.from_numpy(normal)).numpy()
    return made


def error(made: NDArray[Any], right: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(made - right) / np.linalg.norm(right))


@pytest.mark.slow
@pytest.mark.parametrize("precision", LARGEST_ERROR)
def test_tflite_files_are_right_on_frames(bundle: Path, precision: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(bundle / f"model.{precision}.tflite"))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], taken["shape"].tolist()) == (np.uint8, [1, *FRAME, 3])
    rows = []
    for frame in frames():
        interpreter.set_tensor(taken["index"], frame[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(given["index"]))
    made, (scale, zero_point) = np.concatenate(rows), given["quantization"]
    made = (made.astype(np.float64) - zero_point) * scale if scale else made
    assert error(made, expected(bundle)) < LARGEST_ERROR[precision]


@pytest.mark.slow
def test_the_onnx_file_is_right_on_frames(bundle: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.type, taken.shape) == ("tensor(uint8)", [1, 3, *FRAME])
    rows = [session.run(None, {"input": frame[None]})[0] for frame in frames().transpose(0, 3, 1, 2)]
    assert error(np.concatenate(rows), expected(bundle)) < 1e-6


@pytest.mark.slow
def test_files_stay_whole_and_say_what_they_take(bundle: Path, cli: Cli) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["input"]["frame"] == list(FRAME)
    for precision in LARGEST_ERROR:
        content = json.loads(cli("inspect", bundle / f"model.{precision}.tflite", "--json").stdout)
        assert (content["delegate"]["partitions"], content["delegate"]["undelegated"]) == (1, [])
        assert all(len(tensor["shape"]) <= 4 for tensor in content["inputs"])
    told = cli("inspect", bundle / "model.float32.tflite").stdout
    assert "RGB picture 80x56" in told
    seen = json.loads(cli("input", bundle, bundle.parent / "photos" / "0.png", "--json").stdout)
    assert seen["shape"] == [1, 3, *FRAME]


@pytest.mark.slow
def test_apps_have_nothing_to_scale(bundle: Path, cli: Cli) -> None:
    where = ("--reference", TINY, "--inputs", bundle.parent / "photos", "--layers", "--app", "all", "--json")
    done = cli("diff", bundle, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(done.stdout)
    own = next(stage for stage in content["stages"] if stage["stage"] == "tflite-float32")
    rows = {row["app"]: row for row in content["apps"]}
    assert set(rows) == {"android", "browser", "mediapipe", "opencv", "tf", "bgr", "planes"}
    for name in ("android", "browser", "mediapipe", "opencv", "tf"):
        assert rows[name]["relative_l2"] == own["relative_l2"]
    paths = [row["module"] for row in content["layers"]["stages"][1]["layers"]]
    before = ["frame_columns", "frame_rows", "input_normalization"]
    assert [path for path in paths[: paths.index("stem.0")] if path in before] == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--input-from", "frame:30x60"), "the frame 30x60 is smaller than the crop, which needs 32x32 or more."),
        (
            ("--input-from", "frame:69x69"),
            "69x69 is scaled by 69/32, which takes 32 filters, and 16 are most; crop 0.9697, or 68x68",
        ),
        (("--input-from", "60x60"), "--input-from 60x60 is no frame."),
        (("--input-from", "frame:60x5000"), "--input-from frame:60x5000 is no frame."),
        (("--input-from", "frame:64x64", "--resize", "area"), "bilinear, bicubic or lanczos, and not by area."),
    ],
)
def test_what_is_no_frame_is_refused(tmp_path: Path, cli: Cli, options: tuple[str, ...], said: str) -> None:
    done = cli("export", TINY, "--input-size", "32", "--crop", "1", *options, "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 2
    assert not (tmp_path / "out").exists()


def test_a_recipe_says_where_its_frame_is_wrong(tmp_path: Path, cli: Cli) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text("input:\n  size: 96\n  frame: [64, 64]\n")
    done = cli("recipes", "check", recipe)
    assert done.returncode == 2
    assert "small.yaml:" in done.stderr and "smaller than the crop, which needs 110x110" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_gpu_takes_them_whole(bundle: Path, precision: str) -> None:
    if problem := GPU("gpu").why_not():
        pytest.skip(problem.what)
    answer = GPU("gpu").ask(bundle / f"model.{precision}.tflite")
    assert (answer.is_whole, answer.refused) == (True, ())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
def test_a_microcontrollers_npu_takes_what_scales(bundle: Path) -> None:
    refused = Vela("vela:u85-256").ask(bundle / "model.int8.tflite").refused
    assert {each.op for each in refused} <= {"QUANTIZE", "DEQUANTIZE", "MEAN"}, "of its bytes, and the net's end"
