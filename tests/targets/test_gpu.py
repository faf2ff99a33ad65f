"""LiteRT's GPU accelerator: what its log says, and, where a GPU is set up, what it takes and computes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilekit.artifacts.analysis.runtime_faults import faults_in
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.convert.dense import with_dense_pointwise
from mobilekit.errors import ToolError
from mobilekit.store.bundle import MODULES
from mobilekit.store.stages import Stage
from mobilekit.store.worker import Worker
from mobilekit.targets import gpu_worker
from mobilekit.targets.answer import Refusal
from mobilekit.targets.gpu import GPU, GPUProcess, on_gpu, read_answer
from mobilekit.targets.gpu_worker import doubled
from tests.conftest import Cli
from tests.tflite_by_hand import make_grouped, make_tflite

ADAPTER = "I0000 1 environment.cc:532] Selected adapter: SwiftShader Device (Subzero), arch=swiftshader\n"
FAILED = "ERROR: [./litert/cc/litert_compiled_model.h:1961]\n└ ERROR: [litert/runtime/compiled_model.cc:1036]"


@pytest.fixture
def clipped(tmp_path: Path) -> Path:
    """A file of four ops, two of which the GPU refuses."""
    path = tmp_path / "model.float32.tflite"
    ops = [("HARD_SWISH", "x", "a"), ("RELU_0_TO_1", "a", "b"), ("HARD_SWISH", "b", "c"), ("RELU_0_TO_1", "c", "y")]
    path.write_bytes(make_tflite([(kind, [taken], made) for kind, taken, made in ops], (1, 4, 4, 8), ["y"]))
    return path


# What the log says.


def test_a_file_without_a_refusal_is_taken_whole(clipped: Path) -> None:
    answer = read_answer(clipped, None, ADAPTER)
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole) == (4, 4, 1, True)
    assert answer.to_json()["whole"] is True
    wrong = replace(answer, wrong=(Refusal("ADD", 1, "another function"),))
    assert wrong.to_json()["whole"] is False
    assert answer.asked.endswith("GPU accelerator on SwiftShader Device (Subzero)")


def test_what_is_refused_is_told_in_the_compilers_words_with_its_module(clipped: Path) -> None:
    (clipped.parent / MODULES).parent.mkdir(exist_ok=True)
    (clipped.parent / MODULES).write_text(json.dumps({"modules": {"b": "features.0.act"}}))
    log = (
        f"{ADAPTER}ERROR: Following operations are not supported by GPU delegate:\n"
        "RELU_0_TO_1: Not supported op RELU_0_TO_1\n"
        'RELU_0_TO_1: Tensor "b" has bad input dims size: 6.\n'
        "1 operations will run on the GPU, and the remaining 3 operations will run on the CPU.\n"
        "ADD: is no line of that list\n"
    )
    answer = read_answer(clipped, FAILED, log)
    assert (answer.taken, answer.total, answer.partitions, answer.is_whole) == (1, 4, None, False)
    assert answer.refused == (
        Refusal("RELU_0_TO_1", 1, "Not supported op RELU_0_TO_1"),
        Refusal("RELU_0_TO_1", 1, "a tensor has bad input dims size: 6", ("features.0.act",)),
        Refusal("others", 1, "left as well, and nothing said of them"),
    )


def test_none_taken(clipped: Path) -> None:
    log = "No operations will run on the GPU, and all 4 operations will run on the CPU.\n"
    assert read_answer(clipped, FAILED, log).taken == 0


def test_a_refusal_without_a_list_is_told_in_its_own_words(clipped: Path) -> None:
    answer = read_answer(clipped, "ERROR: [a.h:1]\n└ Out of memory.", "")
    assert answer.refused == (Refusal("model", 1, "Out of memory"),)
    assert (answer.taken, answer.asked.endswith("an unnamed device")) == (0, True)


def test_a_shader_that_is_not_built_takes_nothing(clipped: Path) -> None:
    """LiteRT goes on without it, and what comes out is of no use."""
    log = f"{ADAPTER}E0000 environment.cc:105] Validation error: cannot assign 'vec4<f32>' to 'vec4<f16>'\n"
    answer = read_answer(clipped, None, log)
    assert not answer.is_whole
    assert answer.refused == (
        Refusal("shader", 1, "its own shader is refused: cannot assign 'vec4<f32>' to 'vec4<f16>'"),
    )


# The protocol, with a process that stands in for the GPU.


def process(body: str) -> GPUProcess:
    script = f"import os, sys\nfrom mobilekit.store.worker_loop import serve\ndef run(request):\n    {body}\nserve(run)"
    return GPUProcess(Worker([sys.executable, "-c", script]))


def test_a_process_that_dies_is_told(clipped: Path) -> None:
    with (
        process("os.kill(os.getpid(), 11)") as gpu,
        pytest.raises(ToolError, match="accelerator was ended by SIGSEGV"),
    ):
        gpu.compile(clipped)


def test_what_it_logs_while_it_runs_is_seen(clipped: Path) -> None:
    body = "print('Validation error: no such type', file=sys.stderr); return {}"
    with process(body) as gpu, pytest.raises(ToolError, match=r"a shader of model\.float32\.tflite") as caught:
        gpu.run(clipped, {}, {"x": np.zeros((1, 8, 4, 4), np.float32)}, float16=False)
    assert "no such type" in caught.value.what


def test_a_machine_without_a_gpu_is_no_fault_of_the_file(clipped: Path) -> None:
    log = "print('Failed to initialize WebGPU environment: INTERNAL: No adapters found', file=sys.stderr); "
    words = "finds no GPU: INTERNAL: No adapters found"
    with process(log + "return {'refusal': 'ERROR: [a.cc:1036]'}") as gpu, pytest.raises(ToolError, match=words):
        gpu.compile(clipped)
    with process(log + "raise ValueError('not all of it')") as gpu, pytest.raises(ToolError, match=words):
        gpu.has_float16()


@pytest.mark.parametrize("has_float16", [True, False])
def test_a_gpu_without_float16_leaves_that_stage(has_float16: bool) -> None:
    with process(f"return {{'float16': {has_float16}}}") as gpu:
        device = on_gpu(gpu)
    assert device.place == "gpu"
    assert set(device.left) == (set() if has_float16 else {Stage.GPU_FLOAT16})


def test_the_files_of_a_bundle_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Opened:
        def __init__(self, path: Path, *_: object) -> None:
            opened.append(path.name)

        def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
            return inputs

    monkeypatch.setattr(gpu_worker, "OnGPU", Opened)
    monkeypatch.setattr(gpu_worker, "_open", {})
    np.savez(tmp_path / "in.npz", x=np.zeros(1))
    places = {"inputs": str(tmp_path / "in.npz"), "outputs": str(tmp_path / "out.npz")}
    for name in ("abcd" * 2) + "ea":
        gpu_worker.answer({"do": "run", "path": name, "float16": False, "layouts": {}, **places})
    assert "".join(opened) == "abcdea"


# With a GPU.


@pytest.mark.usefixtures("gpu")
def test_the_gpu_takes_some_and_says_why_not_the_rest(clipped: Path, tmp_path: Path) -> None:
    answer = GPU("gpu").ask(clipped)
    assert (answer.taken, answer.total, answer.is_whole) == (1, 4, False)
    assert [(each.op, each.count) for each in answer.refused] == [("others", 2), ("RELU_0_TO_1", 1)]
    whole = tmp_path / "doubled.tflite"
    whole.write_bytes(doubled())
    assert GPU("gpu").ask(whole).is_whole


@pytest.mark.usefixtures("gpu")
def test_the_gpu_computes_what_the_processor_does(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(make_tflite([("HARD_SWISH", ["x"], "a"), ("MUL", ["a", "x"], "y")], (1, 4, 4, 8), ["y"]))
    inputs = {"x": np.random.default_rng(0).normal(size=(3, 8, 4, 4)).astype(np.float32)}
    with GPUProcess() as gpu:
        on = on_gpu(gpu).open(Stage.GPU_FLOAT32, path, {"y": "NHWC"})
        np.testing.assert_allclose(
            on.run(inputs)["y"], LiteRTRuntime(path, {"y": "NHWC"}).run(inputs)["y"], rtol=1e-6, atol=1e-6
        )  # a few float32 operations in another order


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (1, 2), (3, 2)])
def test_a_grouped_convolution_of_8_bits_is_named_where_it_is_wrong(tmp_path: Path, kernel: int, groups: int) -> None:
    path = tmp_path / "grouped.tflite"
    path.write_bytes(make_grouped(kernel, groups))
    is_wrong = gpu_is_wrong(path)
    assert is_wrong == bool(faults_in(path, on_gpu=True)) == (kernel == 1 and groups > 1)
    assert faults_in(path) == ()


@pytest.mark.usefixtures("gpu")
def test_its_own_form_of_a_grouped_convolution_is_right(tmp_path: Path) -> None:
    path = tmp_path / "dense.tflite"
    path.write_bytes(with_dense_pointwise(make_grouped(1, 2))[0])
    assert not gpu_is_wrong(path)
    assert GPU("gpu").ask(path).to_json()["whole"] is True


def gpu_is_wrong(path: Path) -> bool:
    """Return whether the GPU computes another function than the processor."""
    runtime = LiteRTRuntime(path)
    inputs = {runtime.inputs[0].name: np.random.default_rng(0).normal(size=(2, 8, 4, 4)).astype(np.float32)}
    with GPUProcess() as gpu:
        [found] = gpu.run(path, {}, inputs, float16=False).values()
    [right] = runtime.run(inputs).values()
    return float(np.linalg.norm(found - right) / np.linalg.norm(right)) > 0.1


@pytest.mark.usefixtures("gpu")
def test_inspect_asks_it(cli: Cli, clipped: Path) -> None:
    done = cli("inspect", str(clipped), "--target", "cpu,gpu")
    assert done.returncode == 0
    first, *_, gpu_line, others, refused = done.stdout.strip().splitlines()
    assert first.startswith("cpu: model.float32.tflite: not whole, 2 of 4 ops in 2 partitions (LiteRT ")
    assert gpu_line.startswith("gpu: model.float32.tflite: not whole, 1 of 4 ops (LiteRT ")
    assert others == "  refused: 2 others (left as well, and nothing said of them)"
    assert refused == "  refused: 1 RELU_0_TO_1 (Not supported op RELU_0_TO_1)"
