"""Golden cases are what the files give, and a replay that is off is told."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from mobilekit.jobs.goldens import make
from mobilekit.jobs.goldens.check import check_goldens
from mobilekit.jobs.goldens.result import GOLDENS
from mobilekit.store.bundle import MANIFEST, Bundle, open_bundle, write_manifest
from mobilekit.store.stages import Stage
from tests.cli.test_schema import check, check_closely
from tests.conftest import Cli
from tests.programs import TWO_PARTS
from tests.tiny import TINY, make_tiny

PTE = Stage.PTE_FLOAT32
PROGRAM = """
import os, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
runs = Interpreter(os.path.join(sys.argv[1], os.environ["MOBILEKIT_GOLDEN_FILE"]))
runs.allocate_tensors()
runs.set_tensor(runs.get_input_details()[0]["index"], np.load(sys.argv[2]))
runs.invoke()
(given,) = runs.get_output_details()
made = runs.get_tensor(given["index"])
if made.dtype == np.int8:
    scale, zero_point = given["quantization"]
    made = np.float32(scale) * (made.astype(np.float32) - zero_point)
np.save(sys.argv[3], made.reshape(-1))
"""


@pytest.fixture(scope="module")
def goldens(tiny_bundle: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases, with tolerances for GPUs. Tests must not change them."""
    folder = tmp_path_factory.mktemp("goldens") / "cases"
    done = cli("goldens", "make", tiny_bundle, "-o", folder, "--count", "3", "--reference", TINY)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(goldens: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(goldens, tmp_path / "goldens"))


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / GOLDENS).read_text())
    return content


def array(folder: Path, path: str) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.load(folder / path)
    return found


def test_tensors_are_what_a_plain_interpreter_takes_and_gives(goldens: Path, tiny_bundle: Path) -> None:
    content = read(goldens)
    check_closely("goldens", content)
    assert (len(content["cases"]), len(content["files"])) == (3, 5)
    for case in content["cases"]:
        for precision, dtype in (
            ("float32", "float32"),
            ("float16", "float32"),
            ("dynamic", "float32"),
            ("int8", "int8"),
        ):
            name = f"model.{precision}.tflite"
            runs = Interpreter(str(tiny_bundle / name), num_threads=1)
            runs.allocate_tensors()
            given = array(goldens, case["inputs"][name]["input"])
            assert (given.dtype, given.shape) == (np.dtype(dtype), (1, 24, 24, 3))
            runs.set_tensor(runs.get_input_details()[0]["index"], given)
            runs.invoke()
            made = runs.get_tensor(runs.get_output_details()[0]["index"])
            np.testing.assert_array_equal(array(goldens, case["expected"][name]["logits"]), made)


def test_the_onnx_file_is_given_nchw_and_gives_what_the_model_does(goldens: Path, bundle: Bundle) -> None:
    from mobilekit.models.build import load_state

    model = make_tiny()
    load_state(model, bundle.path / "stages" / "reference.safetensors")
    for case in read(goldens)["cases"]:
        given = array(goldens, case["inputs"]["model.onnx"]["input"])
        nhwc = array(goldens, case["inputs"]["model.float32.tflite"]["input"])
        np.testing.assert_array_equal(given.transpose(0, 2, 3, 1), nhwc)
        with torch.no_grad():
            expected = model.eval()(torch.from_numpy(given)).numpy()
        made = array(goldens, case["expected"]["model.onnx"]["logits"])
        np.testing.assert_allclose(made, expected, rtol=0, atol=2e-6)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


def test_the_picture_of_the_models_size_is_the_tensor(goldens: Path) -> None:
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    for case in read(goldens)["cases"]:
        pixels = np.asarray(Image.open(goldens / case["scaled"]), np.float32)
        given = array(goldens, case["inputs"]["model.float32.tflite"]["input"])[0]
        np.testing.assert_allclose((pixels / 255 - mean) / std, given, atol=1e-6)
        assert min(Image.open(goldens / case["picture"]).size) > 24
        assert case["source"].split("/")[0] in ("skimage", "sklearn", "matplotlib")


def test_tolerances_are_those_of_the_ledger(goldens: Path, bundle: Bundle) -> None:
    noise = bundle.ledger["noise"]["logits"]
    files = {file["file"]: file["tolerances"] for file in read(goldens)["files"]}
    int8, float32 = files["model.int8.tflite"], files["model.float32.tflite"]
    assert int8["cpu"]["logits"]["metric"] == "relative_l2"
    assert int8["cpu"]["logits"]["limit"] == pytest.approx(noise["int8_relative_l2"])
    assert float32["cpu"]["logits"]["metric"] == "max_abs"
    assert float32["cpu"]["logits"]["limit"] >= 8 * noise["float32_max_abs"]
    half = float32["gpu"]["logits"]["limit"]
    assert 1e-4 < half < 1e-2  # twice what 2^-11 makes of a few layers
    assert int8["gpu"]["logits"]["limit"] == pytest.approx(half + 2 * noise["int8_relative_l2"])
    assert set(files["model.onnx"]) == {"cpu"}


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_a_replay_is_right(cli: Cli, goldens: Path, runtime: str) -> None:
    done = cli("goldens", "check", goldens, "--runtime", runtime, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    check("goldens-check", content)
    assert len(content["rows"]) == 3 * (4 if runtime == "litert" else 1)
    assert {row["largest"] for row in content["rows"]} == {0}
    other = "onnxruntime" if runtime == "litert" else "litert"
    assert set(content["skipped"].values()) == {f"it is run by `--runtime {other}`"}
    assert ("model.onnx" in content["skipped"]) == (runtime == "litert")


@pytest.mark.parametrize("file", ["model.float32.tflite", "model.int8.tflite"])
def test_what_is_off_by_more_than_its_limit_is_told(cli: Cli, copy: Path, tiny_bundle: Path, file: str) -> None:
    content = read(copy)
    path = content["cases"][1]["expected"][file]["logits"]
    expected = array(copy, path)
    limit = next(each for each in content["files"] if each["file"] == file)["tolerances"]["cpu"]["logits"]["limit"]
    expected[0, 2] += 9 if "int8" in file else 2 * limit
    np.save(copy / path, expected)
    done = cli("goldens", "check", copy, "--bundle", tiny_bundle, "--json")
    assert done.returncode == 1
    failed = [row for row in json.loads(done.stdout)["rows"] if row["verdict"] == "fail"]
    assert [(row["case"], row["file"], row["output"]) for row in failed] == [("case-1", file, "logits")]
    assert failed[0]["value"] > failed[0]["limit"] == pytest.approx(limit)


def test_a_program_is_asked(cli: Cli, goldens: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """It gives int8 as the floats that they stand for, in another shape, which is right as well."""
    (tmp_path / "its own.py").write_text(PROGRAM)
    command = f"{sys.executable} '{tmp_path}/its own.py' {tiny_bundle}"
    done = cli("goldens", "check", goldens, "--runtime", command, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 12
    one = cli("goldens", "check", goldens, "--runtime", command, "--precision", "int8", "--json")
    assert {row["file"] for row in json.loads(one.stdout)["rows"]} == {"model.int8.tflite"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--runtime", "cp"], 1, "1728 values, and not 4"),
        (["--runtime", "false"], 4, "false failed with exit code 1"),
        (["--runtime", "true"], 4, "its last argument is no .npy with the output: No such file"),
        (["--runtime", "litrt"], 4, "Did you mean litert?"),
        (["--runtime", "a 'b"], 2, "No closing quotation"),
        (["--runtime", ""], 2, "--runtime is empty"),
        (["--runtime", "onnxruntime", "--precision", "int8"], 2, "onnxruntime runs .onnx files"),
        (["--precision", "onnx-int8"], 2, "They have model"),
        (["--bundle", "/nowhere"], 2, "There is no file /nowhere/model.float32.tflite"),
        (["--runtime", "onnxruntime", "--on", "gpu"], 2, "no tolerances of model.onnx for the gpu"),
    ],
)
def test_what_is_wrong_is_told(cli: Cli, goldens: Path, words: list[str], code: int, says: str) -> None:
    done = cli("goldens", "check", goldens, *words)
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert code == 1 or len(done.stderr[done.stderr.index("error: ") :].splitlines()) == 2


@pytest.mark.parametrize(
    ("made", "code", "says"),
    [
        ("open(path, 'wb')", 4, "it is no .npy of numbers: EOF"),
        ("open(path, 'wb').write(b'PK' + bytes(9))", 4, "it is no .npy of numbers"),
        ("np.savez(open(path, 'wb'), a=np.zeros(4))", 4, "it is no .npy of numbers"),
        ("np.save(path, np.full(4, 'a'))", 4, "it holds <U1, which are no numbers"),
        ("np.save(path, np.zeros(4, complex))", 4, "it holds complex128, which are no numbers"),
        ("np.save(path, np.full(4, 1e300))", 1, "inf"),
        ("np.save(path, np.full(4, np.nan))", 1, "nan"),
    ],
)
def test_what_a_program_writes_instead_is_told(
    cli: Cli, goldens: Path, tmp_path: Path, made: str, code: int, says: str
) -> None:
    (tmp_path / "program.py").write_text(f"import sys\nimport numpy as np\npath = sys.argv[2]\n{made}\n")
    done = cli("goldens", "check", goldens, "--runtime", f"{sys.executable} {tmp_path}/program.py")
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert "Warning" not in done.stderr


def test_another_file_is_refused(cli: Cli, goldens: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("float32", "float16", "dynamic", "int8"):
        (tmp_path / f"model.{name}.tflite").write_bytes((tiny_bundle / "model.float32.tflite").read_bytes() + b"0")
    done = cli("goldens", "check", goldens, "--bundle", tmp_path)
    assert done.returncode == 2
    assert "another file than the goldens are of" in done.stderr


def test_damaged_goldens_are_told(cli: Cli, copy: Path, tiny_bundle: Path) -> None:
    case = read(copy)["cases"][0]
    (copy / case["inputs"]["model.int8.tflite"]["input"]).write_bytes(b"\x93NUMPY")
    done = cli("goldens", "check", copy, "--bundle", tiny_bundle)
    assert (done.returncode, "is no .npy of numbers" in done.stderr) == (2, True)
    np.save(copy / case["inputs"]["model.int8.tflite"]["input"], np.zeros((1, 5), np.int8))
    done = cli("goldens", "check", copy, "--bundle", tiny_bundle)
    assert (done.returncode, "holds int8 1x5, and input is int8 1x24x24x3" in done.stderr) == (2, True)
    (copy / GOLDENS).write_text("{}")
    done = cli("goldens", "check", copy)
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)


def test_a_precision_named_twice_is_replayed_once(cli: Cli, goldens: Path) -> None:
    done = cli("goldens", "check", goldens, "--precision", "int8,int8", "--json")
    assert len(json.loads(done.stdout)["rows"]) == 3


@pytest.mark.parametrize(("loss", "places"), [(0.0, {"cpu", "gpu"}), (float("inf"), {"cpu"}), (0.1, {"cpu", "gpu"})])
def test_every_output_has_a_tolerance_wherever_one_has(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, places: set[str]
) -> None:
    """An output of zeros loses nothing in float16, and one beyond its range all."""
    monkeypatch.setattr(make, "float16_losses", lambda *_: {"logits": loss})
    made = make.make_goldens(open_bundle(tiny_bundle), tmp_path / "goldens", 1, reference=TINY)
    files = [file for file in made.files if file.file != "model.onnx"]
    assert [set(file.tolerances) for file in files] == [places] * len(files)
    assert all(set(limits) == {"logits"} for file in files for limits in file.tolerances.values())
    assert any("float16's range" in note for note in made.notes) == (places == {"cpu"})
    assert check_goldens(tmp_path / "goldens", place=max(places)).verdict == "pass"  # type: ignore[type-var]


def test_what_cannot_be_made_is_told(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "five.npz", input=np.zeros((1, 3, 24, 24), np.float32), labels=np.array([4]))
    refusals: list[tuple[list[str | Path], str]] = [
        (["-o", tiny_bundle / "goldens"], "lies in the bundle"),
        (["-o", tmp_path / "goldens", "--reference", f"{TINY}s"], "has no function or class make_tinys"),
        (["-o", tmp_path / "goldens", "--inputs", tmp_path / "five.npz"], "has labels from 4 to 4, and the model has"),
    ]
    for words, says in refusals:
        done = cli("goldens", "make", tiny_bundle, *words)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "goldens").exists() and not (tiny_bundle / "goldens").exists()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (("cases", 0, "inputs", "model.int8.tflite"), "case-0 has no input of model.int8.tflite"),
        (("cases", 1, "expected", "model.onnx", "logits"), "case-1 has no output of model.onnx"),
        (("files", 0, "tolerances", "cpu", "logits"), "has no tolerance of an output for the cpu"),
        (("files", 0, "outputs", 0), "has no input or no output"),
        (("cases", slice(None)), "has no file or no case"),
    ],
)
def test_goldens_that_lack_a_part_are_told(cli: Cli, copy: Path, place: tuple[Any, ...], says: str) -> None:
    content = read(copy)
    at: Any = content
    for word in place[:-1]:
        at = at[word]
    del at[place[-1]]
    (copy / GOLDENS).write_text(json.dumps(content))
    done = cli("goldens", "check", copy)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_files_for_executorch_are_left_out_with_a_word(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest["self_sha256"]
    entries = manifest["artifacts"]
    entries[PTE.file] = entries["model.onnx"]
    shutil.copy(TWO_PARTS, bundle / PTE.file)

    def make_without(suffix: str) -> Any:
        for path in bundle.glob(f"*{suffix}"):
            path.unlink()
            del entries[path.name]
        write_manifest(bundle, manifest)
        return cli("goldens", "make", bundle, "-o", tmp_path / "goldens", "--count", "1", "--force")

    done = make_without(".tflite")
    assert (done.returncode, f"note: Without {PTE.file}: goldens are of" in done.stderr) == (0, True), done.stderr
    assert f"Next: mobilekit goldens check {tmp_path / 'goldens'} --runtime onnxruntime" in " ".join(
        done.stdout.split()
    )
    assert cli("goldens", "check", tmp_path / "goldens", "--runtime", "onnxruntime").returncode == 0
    refused = cli("goldens", "check", tmp_path / "goldens")
    assert (refused.returncode, "the goldens are of model.onnx" in " ".join(refused.stderr.split())) == (2, True)
    refused = make_without(".onnx")
    said = f"has nothing to replay: goldens are of .tflite and .onnx files, without {PTE.file}."
    assert (refused.returncode, said in " ".join(refused.stderr.split())) == (2, True), refused.stderr


def test_what_is_there_is_kept(cli: Cli, copy: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    done = cli("goldens", "make", tiny_bundle, "-o", copy)
    assert (done.returncode, "--force" in done.stderr) == (2, True)
    done = cli("goldens", "make", tiny_bundle, "-o", tmp_path)
    assert (done.returncode, "holds no goldens" in done.stderr) == (2, True)
    done = cli("goldens", "make", tiny_bundle, "-o", copy, "--force", "--count", "1")
    assert done.returncode == 0, done.stderr
    assert "Add --reference" in done.stderr
    content = read(copy)
    assert len(content["cases"]) == 1
    assert {place for file in content["files"] for place in file["tolerances"]} == {"cpu"}


def test_arrays_have_no_pictures(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", input=np.random.default_rng(0).standard_normal((2, 3, 24, 24), dtype=np.float32))
    done = cli("goldens", "make", tiny_bundle, "-o", tmp_path / "made", "--inputs", tmp_path / "own.npz")
    assert done.returncode == 0, done.stderr
    cases = read(tmp_path / "made")["cases"]
    assert [(case["picture"], case["scaled"]) for case in cases] == [(None, None)] * 2
    assert cli("goldens", "check", tmp_path / "made").returncode == 0


def test_labels_and_gray_pictures(cli: Cli, digits_bundle: Path, tmp_path: Path) -> None:
    done = cli("goldens", "make", digits_bundle, "-o", tmp_path / "made", "--count", "2")
    assert done.returncode == 0, done.stderr
    cases = read(tmp_path / "made")["cases"]
    assert all(case["label"] in list("0123456789") for case in cases)
    assert Image.open(tmp_path / "made" / cases[0]["scaled"]).mode == "L"
    for case in cases:
        made = array(tmp_path / "made", case["expected"]["model.float32.tflite"]["logits"])
        assert str(made.argmax()) == case["label"]


def test_mediapipe_is_given_the_picture(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    (tmp_path / "half.yaml").write_text("input: {size: 24, mean: [.5, .5, .5], std: [.5, .5, .5]}\n")
    words = ("--recipe", tmp_path / "half.yaml", "--precision", "float32", "-o", tmp_path / "half")
    assert cli("export", TINY, *words).returncode == 0
    assert cli("goldens", "make", tmp_path / "half", "-o", tmp_path / "cases").returncode == 0
    done = cli("goldens", "check", tmp_path / "cases", "--runtime", "mediapipe", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 4
    assert all(row["largest"] <= row["limit"] for row in rows)
