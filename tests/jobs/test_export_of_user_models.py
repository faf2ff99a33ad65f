"""Models that the user brings go all the way: several outputs, and one of timm's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobilekit.models.user import resolve
from tests.conftest import ROOT, Cli
from tests.tiny import TINY

DETECTOR = ROOT / "docs" / "examples" / "detector.py"


@pytest.mark.slow
def test_a_detector_of_three_outputs_goes_all_the_way(tmp_path: Path, cli: Cli) -> None:
    """LiteRT's NHWC outputs, moved back by the layout in the manifest, are the module's own."""
    from ai_edge_litert.interpreter import Interpreter
    from safetensors.torch import load_file

    out = tmp_path / "out"
    spec = f"{DETECTOR}:make_detector"
    options = ("--input-size", "96", "--precision", "float32,int8", "--weights", "none")
    done = cli("export", spec, *options, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["output"] for row in json.loads(done.stdout)["ledger"]["stages"]} == {"p3", "p4", "p5"}

    model = resolve(spec).create()
    model.load_state_dict(load_file(out / "stages" / "reference.safetensors"))
    image = np.random.default_rng(0).standard_normal((1, 3, 96, 96), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(image))
    run = Interpreter(str(out / "model.float32.tflite")).get_signature_runner()
    given = run(input=image.transpose(0, 2, 3, 1))
    manifest = json.loads((out / "manifest.json").read_text())
    layouts = {tensor["name"]: tensor["layout"] for tensor in manifest["artifacts"]["model.float32.tflite"]["outputs"]}
    assert layouts == {"p3": "NHWC", "p4": "NHWC", "p5": "NHWC"}
    for name, tensor in expected.items():
        assert np.abs(given[name].transpose(0, 3, 1, 2) - tensor.numpy()).max() < 1e-4

    refused = cli("diff", out)
    assert refused.returncode == 2
    assert "not run unless you name it" in refused.stderr
    assert cli("diff", out, "--reference", spec).returncode == 0


BLOCK = ("model", "size", "color", "normalization", "crop", "calibration", "evaluation", "weights")


def block_of(lines: list[str]) -> dict[str, str]:
    """What a block of 8 lines says, by the words at its left."""
    start = next(place for place, line in enumerate(lines) if line.startswith("model "))
    found = {line[:13].strip(): line[14:] for line in lines[start : start + 8]}
    assert tuple(found) == BLOCK
    return found


@pytest.mark.slow
def test_nothing_is_assumed_in_silence(tmp_path: Path, cli: Cli) -> None:
    """The block is told as work starts and after the verdict, and the ledger, the manifest and a report know of it."""
    out, page = tmp_path / "out", tmp_path / "page.html"
    done = cli("export", TINY, "--input-size", "32", "--precision", "float32,int8", "-o", out)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("pass, on assumed inputs: ")
    told, before = block_of(lines[1:]), block_of(done.stderr.splitlines())
    assert {**told, "weights": ""} == {**before, "weights": ""}
    assert told["size"] == "32x32 (--input-size)"
    assert told["color"] == "rgb (assumed; set it by --color)"
    assert told["calibration"] == "84 built-in photos (assumed; set it by --calibration)"

    ledger = json.loads((out / "ledger.json").read_text())
    names = ["color", "normalization", "crop", "calibration", "evaluation"]
    assert ledger["assumed"] == names and ledger["verdict"] == "pass"
    assert (ledger["calibration"]["source"], ledger["calibration"]["is_own"]) == ("built-in photos", False)
    manifest = json.loads((out / "manifest.json").read_text())
    assert [each["what"] for each in manifest["given"] if each["origin"] == "assumed"] == names
    assert manifest["calibration"]["is_own"] is False
    assert cli("report", out, "-o", page).returncode == 0
    sentence = "int8 is calibrated on 84 inputs (built-in photos), none of them yours."
    assert sentence in page.read_text()
    again = cli("diff", out, "--reference", TINY)
    assert again.stdout.startswith("pass, on assumed inputs: ") and sentence in again.stdout
    assert cli("export", TINY, "--input-size", "32", "--precision", "float32,int8", "-o", out).returncode == 0


@pytest.mark.slow
def test_an_export_is_measured_on_the_users_pictures(tmp_path: Path, cli: Cli) -> None:
    """With their labels; and with all said, nothing is assumed."""
    noise = np.random.default_rng(0)
    for number in range(8):
        folder = tmp_path / "photos" / f"class{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    photos, out = tmp_path / "photos", tmp_path / "out"
    said = ("--input-size", "32", "--color", "rgb", "--mean", "0.5", "--std", "0.25", "--crop", "1")
    words = ("export", TINY, *said, "--calibration", photos, "--inputs", photos, "--precision", "float32,int8")
    done = cli(*words, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)["ledger"]
    assert ledger["assumed"] == []
    names = [f"class{number}" for number in range(4)]
    assert ledger["inputs"] == {"real": str(photos), "count": 8, "is_own": True, "labels": names}
    assert ledger["calibration"]["is_own"] is True
    totals = [row for row in ledger["stages"] if row["against"] == "reference"]
    assert all(row["top1"] is not None for row in totals) and ledger["reference_top1"] in (0, 0.125, 0.25, 0.375, 0.5)

    assert "was there already" in cli(*words, "-o", out).stdout
    (photos / "class0").rename(photos / "class9")  # the same files, with other labels
    assert "another export" in cli(*words, "-o", out).stderr


def test_labels_that_do_not_fit_are_refused_before_the_work(tmp_path: Path, cli: Cli) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "photos" / name / "0.png")
    out = tmp_path / "out"
    done = cli("export", TINY, "--input-size", "32", "--inputs", tmp_path / "photos", "-o", out)
    assert done.returncode == 2
    assert f"{tmp_path / 'photos'} has folders of 3 classes, and the model has 4." in done.stderr
    assert "converting" not in done.stderr and not out.exists()


@pytest.mark.slow
def test_pictures_that_are_not_square_go_all_the_way(tmp_path: Path, cli: Cli) -> None:
    """LiteRT and PyTorch agree on a picture of the file's own shape; labels stand in the manifest, in their order."""
    from ai_edge_litert.interpreter import Interpreter
    from safetensors.torch import load_file

    noise = np.random.default_rng(0)
    names = ("delta", "gamma", "beta", "alpha")
    for number in range(8):
        folder = tmp_path / "photos" / names[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (40, 24, 3), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "labels.txt").write_text("\n".join(names))
    photos, out = tmp_path / "photos", tmp_path / "out"
    words = ("export", TINY, "--input-size", "40x24", "--calibration", photos, "--inputs", photos)
    done = cli(*words, "--labels", tmp_path / "labels.txt", "--precision", "float32,int8", "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["recipe"]["content"]["labels"] == list(names)
    assert manifest["input"]["size"] == [40, 24] and manifest["given"][0]["value"] == "40x24"
    assert manifest["artifacts"]["model.int8.tflite"]["inputs"][0]["shape"] == [1, 40, 24, 3]

    model = resolve(TINY).create()
    model.load_state_dict(load_file(out / "stages" / "reference.safetensors"))
    image = noise.standard_normal((1, 3, 40, 24), dtype=np.float32)
    run = Interpreter(str(out / "model.float32.tflite")).get_signature_runner()
    with torch.no_grad():
        expected = model(torch.from_numpy(image)).numpy()
    [given] = run(input=image.transpose(0, 2, 3, 1)).values()
    np.testing.assert_allclose(given, expected, atol=1e-5)
    again = cli("diff", out, "--reference", TINY, "--inputs", photos, "--json")
    assert json.loads(again.stdout)["reference_top1"] == json.loads(done.stdout)["ledger"]["reference_top1"]


def test_bad_input_is_refused_in_two_lines_and_nothing_is_written(tmp_path: Path, cli: Cli) -> None:
    """Each names the file, and what to do; nothing is told of what the export would have assumed."""
    (tmp_path / "none").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    (tmp_path / "net.py").write_text("def make():\n    raise ValueError('no [bold] weights')\n")
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "other.pt")
    cases = {
        ("--inputs", tmp_path / "none"): f"There is no picture in {tmp_path / 'none'}.",
        ("--inputs", tmp_path / "broken"): f"{tmp_path / 'broken' / 'a.png'} is not a picture that can be read",
        ("--calibration", tmp_path / "broken"): f"{tmp_path / 'broken' / 'a.png'} is not a picture that can be read",
        ("--weights", tmp_path / "other.pt"): f"{tmp_path / 'other.pt'} does not fit the model",
        ("--input-size", "20x"): "--input-size 20x is no size.",
        ("--channels", "6"): f"{TINY} cannot take an input of 6x32x32",
        ("--mean", "0.5,0.5"): "mean needs 3 values for color rgb.",
    }
    out = tmp_path / "out"
    for options, words in cases.items():
        size = () if "--input-size" in options else ("--input-size", "32")
        done = cli("export", TINY, *size, *options, "-o", out)
        told = done.stderr[done.stderr.index("error: ") :].splitlines()
        assert (done.returncode, len(told), told[0].startswith(f"error: {words}")) == (2, 2, True), done.stderr
        assert "set it by" not in done.stderr and not out.exists()
    raised = cli("export", f"{tmp_path / 'net.py'}:make", "-o", out)
    assert raised.returncode == 2 and "ValueError: no [bold] weights (line 2)" in raised.stderr and not out.exists()


def test_labels_of_another_number_than_the_outputs_are_refused(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    out = tmp_path / "out"
    done = cli("export", TINY, "--input-size", "32", "--labels", tmp_path / "labels.txt", "-o", out)
    assert done.returncode == 2 and not out.exists()
    assert "error: There are 3 labels (a to c), and the model has 4 outputs." in done.stderr
    wrong = cli("export", TINY, "--labels", tmp_path / "missing.txt", "-o", out)
    assert wrong.returncode == 2 and "missing.txt" in wrong.stderr


SWISHES = """
from torch import nn

def make():
    layers = [part for _ in range(3) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.Hardswish())]
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), *layers, nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.mark.slow
def test_int8_that_is_slower_is_said_with_what_mends_it(tmp_path: Path, cli: Cli) -> None:
    """And the setting that the note names leaves one partition."""
    (tmp_path / "net.py").write_text(SWISHES)
    words = ("export", f"{tmp_path / 'net.py'}:make", "--input-size", "32", "--precision", "float32,int8")
    done = cli(*words, "-o", tmp_path / "slow")
    assert done.returncode == 0, done.stderr
    note = "XNNPACK runs it in 4 parts, not 1, and leaves 3 HARD_SWISH. In a recipe, `int8: {keep_float: [division, "
    assert note in done.stdout
    ledger = json.loads((tmp_path / "slow" / "ledger.json").read_text())
    [found] = [each for each in ledger["notes"] if note in each]
    assert cli("report", tmp_path / "slow", "-o", tmp_path / "page.html").returncode == 0
    assert "leaves 3 HARD_SWISH" in (tmp_path / "page.html").read_text()

    setting = found.partition("`")[2].partition("`")[0]
    default = cli("recipes", "show", "default").stdout.splitlines()
    (tmp_path / "r.yaml").write_text("\n".join([*(line for line in default if "int8" not in line), setting]))
    done = cli(*words, "--recipe", tmp_path / "r.yaml", "-o", tmp_path / "fast")
    assert done.returncode == 0, done.stderr
    ledger = json.loads((tmp_path / "fast" / "ledger.json").read_text())
    assert ledger["artifacts"]["model.int8.tflite"]["partitions"] == 1
    assert not [each for each in ledger["notes"] if "slower" in each]
