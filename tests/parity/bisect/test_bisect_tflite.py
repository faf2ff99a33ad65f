"""Faults planted in TFLite files, each named by its module and shown by a script of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mobilekit.artifacts.analysis.cut_tflite import cut_tflite
from mobilekit.artifacts.analysis.precision import precision_of
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import unpack
from mobilekit.convert.onnx import simplify, write_onnx
from mobilekit.convert.tflite import write_tflite
from mobilekit.parity.bisect.bisect import bisect
from mobilekit.parity.bisect.observed import observe
from mobilekit.parity.bisect.regions import Islands
from mobilekit.parity.bisect.reproduction import reproduce, write_reproduction
from mobilekit.parity.bisect.simulate import torch_yardstick
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.bundle import MODULES
from tests.conftest import ROOT, Cli
from tests.faulty_nets import SIZE, make
from tests.tflite_faults import FLOAT_FAULTS, INT8_FAULTS, Editor, with_fault

pytestmark = pytest.mark.slow

X: NDArray[np.float32] = np.random.default_rng(1).standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)
PRECISIONS = ("float32", "float16", "dynamic", "int8")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The right net in each precision, converted once, and as ONNX."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "scratch").mkdir()
    write_onnx(trace(make(), {"input": torch.from_numpy(X)}), {"input": X.shape}, folder / "raw.onnx")
    simplify(folder / "raw.onnx", folder / "net.onnx", folder / "scratch")
    ranges = np.random.default_rng(0).standard_normal((40, *X.shape[1:]), dtype=np.float32)
    files = {precision: folder / f"{precision}.tflite" for precision in PRECISIONS}
    write_tflite(folder / "net.onnx", files, {"input": ranges}, folder / "scratch")
    return folder


def beside_torch(path: Path) -> Islands:
    runtime = LiteRTRuntime(path)
    graph = trace(make(), {"input": torch.from_numpy(X)})
    seen = observe(path, {"input": (runtime.inputs[0].name, X)}, [runtime.outputs[0].name])
    return Islands(seen, torch_yardstick(graph, precision_of(path), {"input": X}))


def planted(converted: Path, precision: str, fault: str, tmp_path: Path) -> tuple[Path, list[str]]:
    plant, modules = {**FLOAT_FAULTS, **INT8_FAULTS}[fault]
    path = tmp_path / "their.tflite"
    path.write_bytes(with_fault((converted / f"{precision}.tflite").read_bytes(), plant))
    return path, modules


@pytest.mark.parametrize("precision", PRECISIONS)
def test_right_files_have_no_fault(precision: str, converted: Path) -> None:
    path = converted / f"{precision}.tflite"
    assert precision_of(path) == precision
    islands = beside_torch(path)
    findings = bisect(islands)
    assert findings.faults == ()
    unknown = {op.kind for op in islands.candidate.ops if not set(op.outputs) & set(islands.known)}
    assert unknown <= {"PAD", "MUL", "RESHAPE", "TRANSPOSE"}  # what no step of the net makes


@pytest.mark.parametrize("fault", FLOAT_FAULTS)
def test_each_planted_fault_is_named_and_shown(fault: str, converted: Path, tmp_path: Path) -> None:
    path, modules = planted(converted, "float32", fault, tmp_path)
    islands = beside_torch(path)
    (what,) = bisect(islands).faults
    assert list(what.modules) == modules
    made = reproduce(islands, what, path)
    assert made.is_local and not made.without_delegate
    assert len(made.model) < len(path.read_bytes())
    write_reproduction(tmp_path, made, "A fault.", "text")
    script = (tmp_path / "reproduce.py").read_text()
    assert "mobilekit" not in script and len(script.splitlines()) <= 27
    done = subprocess.run([sys.executable, "-I", tmp_path / "reproduce.py"], capture_output=True, text=True)
    assert done.returncode == 1 and "wrong" in done.stderr
    assert f"relative L2 {made.error:.3g}" in done.stdout


@pytest.mark.parametrize("fault", INT8_FAULTS)
def test_one_wrong_scale_among_int8_tensors_is_named(fault: str, converted: Path, tmp_path: Path) -> None:
    path, modules = planted(converted, "int8", fault, tmp_path)
    islands = beside_torch(path)
    cuts = [reproduce(islands, what, path) for what in bisect(islands).faults]
    assert [list(cut.fault.modules) for cut in cuts if cut.is_local] == [modules]


@pytest.mark.parametrize("fault", ["nearest with half-pixel centers", "swapped pooling padding"])
@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8"])
def test_faults_are_found_in_every_format(fault: str, precision: str, converted: Path, tmp_path: Path) -> None:
    path, modules = planted(converted, precision, fault, tmp_path)
    islands = beside_torch(path)
    cuts = [reproduce(islands, what, path) for what in bisect(islands).faults]
    assert [list(cut.fault.modules) for cut in cuts if cut.is_local] == [modules]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cut_file_gives_what_the_whole_has_there(precision: str, converted: Path, tmp_path: Path) -> None:
    path = converted / f"{precision}.tflite"
    whole = LiteRTRuntime(path, keep_tensors=True)
    whole.run({"input": X})
    ops = whole.interpreter._get_ops_details()
    layers = [number for number, op in enumerate(ops) if op["op_name"] == "CONV_2D"][1:3]
    first, last = int(ops[layers[0]]["inputs"][0]), int(ops[layers[1]]["outputs"][0])
    part = tmp_path / "part.tflite"
    part.write_bytes(cut_tflite(unpack(path.read_bytes()), range(layers[0], layers[1] + 1), [first], [last]))
    cut = LiteRTRuntime(part, keep_tensors=True)
    cut.interpreter.set_tensor(cut.inputs[0].index, whole.interpreter.get_tensor(first))
    cut.interpreter.invoke()
    np.testing.assert_array_equal(cut.interpreter.get_tensor(cut.outputs[0].index), whole.interpreter.get_tensor(last))
    assert part.stat().st_size < path.stat().st_size


def test_the_command_names_the_module_and_writes_the_folder(converted: Path, cli: Cli, tmp_path: Path) -> None:
    path, _modules = planted(converted, "float32", "nearest with half-pixel centers", tmp_path)
    factory, folder = f"{ROOT / 'tests' / 'faulty_nets.py'}:make", tmp_path / "fault"
    done = cli("diff", "--reference", factory, "--candidate", path, "--bisect", folder, "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "fail" and told["stages"][0]["stage"] == "their.tflite"
    assert told["bisect"]["modules"] == ["up"]
    assert told["bisect"]["ops"] == ["RESIZE_NEAREST_NEIGHBOR"]
    written = sorted(file.name for file in folder.iterdir())
    assert written == ["README.md", "candidate.tflite", "expected.npy", "inputs.npz", "reproduce.py"]
    again = cli("diff", "--reference", factory, "--candidate", path, "--bisect", folder)
    assert again.returncode == 2 and "is not empty" in again.stderr


def test_onnx_beside_tflite(converted: Path, cli: Cli, tmp_path: Path) -> None:
    onnx = converted / "net.onnx"
    right = cli("diff", "--reference", onnx, "--candidate", converted / "float32.tflite")
    assert right.returncode == 0, right.stdout + right.stderr
    path, _modules = planted(converted, "float32", "hard-swish as hard-sigmoid", tmp_path)
    done = cli("diff", "--reference", onnx, "--candidate", path, "--bisect", tmp_path / "fault", "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["bisect"]["modules"] == ["act/HardSwish"]


def test_a_bundles_stage_is_bisected(digits_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    bundle, name = tmp_path / "digits", "model.float32.tflite"
    shutil.copytree(digits_bundle, bundle)
    file = Editor((bundle / name).read_bytes())
    conv = file.find("CONV_2D", 3)
    wrong = file.constant(int(conv.inputs[1]), 2 * file.array(int(conv.inputs[1])))
    conv.inputs = np.array([conv.inputs[0], wrong, conv.inputs[2]], np.int32)
    (bundle / name).write_bytes(file.content())
    made = file.tensors[int(conv.outputs[0])].name.decode()
    owner = json.loads((bundle / MODULES).read_text())["modules"][made]
    done = cli("diff", bundle, "--bisect", tmp_path / "fault", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)["bisect"]
    assert told["modules"][0] == owner
    assert (told["ops"], told["output"], len(told["faults"])) == (["CONV_2D"], made, 1)


def test_a_bundle_that_passes_has_nothing_to_bisect(digits_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("diff", digits_bundle, "--bisect", tmp_path / "fault")
    assert done.returncode == 0, done.stderr
    assert "nothing to bisect" in done.stdout
    assert not (tmp_path / "fault").exists()
