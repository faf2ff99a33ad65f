"""Steps as the count of a file; and counts of small nets, where this machine has the emulated device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilekit.bench.artifacts import find_artifacts
from mobilekit.bench.devices import emulator_setup
from mobilekit.bench.instructions.cores import core_named
from mobilekit.bench.instructions.count import count_files, count_of, dearer
from mobilekit.bench.instructions.result import Count
from mobilekit.bench.instructions.steps import Step, StepKind, Work
from mobilekit.bench.kinds import Op
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.tflite_by_hand import make_tflite

OPS = [
    Op(0, "CONV_2D", "a", "blocks.0.conv", "pointwise", quantized=False),
    Op(1, "DEPTHWISE_CONV_2D", "b", "blocks.0.cheap", "depthwise", quantized=False),
    Op(2, "TRANSPOSE", "c", "blocks.1.0", "transpose", quantized=False),
    Op(3, "FULLY_CONNECTED", "d", "head", "fully connected", quantized=False),
]


def make_step(kernel: str, partition: int | None, functions: dict[str, int], kind: StepKind = "operator") -> Step:
    total = sum(functions.values())
    return Step(kind, kernel, next(iter(functions)), partition, Work({"fmla": total - 1, "load": 1}, functions, 16, 4))


GEMM = "xnn_f32_gemm_minmax_ukernel_6x8__neon"
QD8 = "xnn_qd8_f32_qc8w_gemm_minmax_ukernel_4x16c4__neon"
DWCONV = "xnn_f32_dwconv_minmax_ukernel_9p8c__neon"
STEPS = [
    make_step("f32_gemm_6x8", 0, {GEMM: 90, "xnn_compute_gemm": 10}),
    make_step("f32_dwconv_9p8c", 0, {DWCONV: 50}),
    make_step("transpose", None, {"_ZN6tflite3ops7builtin9transpose4EvalE": 7}, "builtin"),
    make_step("f32_qs8_vcvt", 1, {"xnn_f32_qs8_vcvt_ukernel__neon": 5}),
    make_step("qd8_f32_qc8w_gemm_4x16c4", 1, {QD8: 30}),
    make_step("runtime", None, {"python3.11": 1000}, "runtime"),
]


def test_steps_find_their_ops() -> None:
    count = count_of(STEPS, [[0, 1], [3]], OPS, has_modules=True)
    assert [step.tensor for step in count.steps] == ["a", "b", "c", "d", "d"]
    assert [step.kind for step in count.steps] == ["operator", "operator", "builtin", "operator", "operator"]
    assert (count.instructions, count.runtime_instructions) == (192, 1000)
    assert count.by_kernel == {
        "f32_gemm_6x8": 90,
        "f32_dwconv_9p8c": 50,
        "qd8_f32_qc8w_gemm_4x16c4": 30,
        "around kernels": 10,
        "transpose of TFLite": 7,
        "f32_qs8_vcvt": 5,
    }
    assert count.by_kind == {"pointwise": 100, "depthwise": 50, "fully connected": 35, "transpose": 7}
    assert count.by_module == {"blocks.0": 150, "head": 35, "blocks.1": 7}
    assert count.by_class == {"fmla": 187, "load": 5}
    assert count.kernels["d"] == "qd8_f32_qc8w_gemm_4x16c4"
    assert (count.loaded_bytes, count.stored_bytes) == (80, 20)


def test_without_a_bundle_there_are_no_modules() -> None:
    assert count_of(STEPS, [[0, 1], [3]], OPS, has_modules=False).by_module == {}


@pytest.mark.parametrize(
    ("precision", "instructions", "words"),
    [
        ("dynamic", 1_350_000, ["n/b.tflite is dearer than n/a.tflite on this core: 1.35 times the instructions."]),
        ("dynamic", 1_000_000, []),
        ("float16", 1_350_000, []),
    ],
)
def test_a_quantized_file_that_is_dearer_than_its_float32_file_is_told_of(
    precision: str, instructions: int, words: list[str]
) -> None:
    files = make_file(make_model(), "n/a.tflite"), make_file(make_model(instructions - 400_000), "n/b.tflite")
    result = make_result(files[0], replace(files[1], precision=precision))
    assert list(dearer(result.results, result.comparisons)) == words


# On the emulated device.

problem = emulator_setup.find_count_problem()
emulated = pytest.mark.skipif(problem is not None, reason=f"nothing can be counted here: {problem and problem.what}")


@pytest.fixture
def count(tmp_path: Path) -> Callable[[bytes, str], Count]:
    """Count a file in a process of its own."""

    def count(content: bytes, core: str) -> Count:
        path = tmp_path / "net.tflite"
        path.write_bytes(content)
        [result] = count_files(find_artifacts([path]), core_named(core)).results
        assert result.count, result.why_not
        return result.count

    return count


def make_convolution() -> bytes:
    """Return a file of a 1x1 convolution of 6 x 8 places from 64 to 64 channels."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((64, 1, 1, 64)).astype(np.float32),
        "b": random.standard_normal(64).astype(np.float32),
    }
    return make_tflite([("CONV_2D", ["x", "w", "b"], "y")], (1, 6, 8, 64), ["y"], weights)


@emulated
def test_a_convolution_has_a_quarter_as_many_fmla_as_products(count: Callable[[bytes, str], Count]) -> None:
    """An fmla multiplies four floats, and the kernel's 6 places and 8 channels divide 48 places and 64 channels."""
    content = make_convolution()
    products = 6 * 8 * 64 * 64
    found = count(content, "a76")
    assert found.by_class["fmla"] == products / 4
    assert list(found.by_kind) == ["pointwise"]
    assert next(iter(found.by_kernel)) == "f32_gemm_6x8"
    again = count(content, "a76")
    assert again.steps == found.steps, "another process counted otherwise"


@emulated
def test_each_core_has_kernels_of_its_own(count: Callable[[bytes, str], Count]) -> None:
    content = make_convolution()
    functions = {core: count(content, core).steps[0].function for core in ("a55", "a76")}
    assert functions["a55"].endswith("cortex_a55") and "cortex_a75" in functions["a76"]


@emulated
def test_ops_between_partitions_have_rows_of_their_own(count: Callable[[bytes, str], Count]) -> None:
    """XNNPACK has no kernel for FLOOR_MOD."""
    found = count(make_tflite([("ADD", ["x", "x"], "y"), ("FLOOR_MOD", ["y", "x"], "z")], (1, 64), ["z"]), "a76")
    assert [(step.kind, step.op) for step in found.steps] == [("operator", "ADD"), ("builtin", "FLOOR_MOD")]
    assert found.steps[1].kernel == "floor_mod"


@emulated
def test_a_sum_of_large_maps_misses_each_line_once(tmp_path: Path) -> None:
    """Two maps of 1 MiB are read and one is written, and none of them is in caches of 32 and 128 KiB any more."""
    path = tmp_path / "net.tflite"
    weights = {"w": np.ones((1, 1 << 18), np.float32)}
    path.write_bytes(make_tflite([("ADD", ["x", "w"], "y")], (1, 1 << 18), ["y"], weights))
    [result] = count_files(find_artifacts([path]), core_named("a55"), cache_misses=True).results
    assert result.count and result.count.misses, result.why_not
    [step] = result.count.steps
    assert step.misses
    lines = 3 * (1 << 20) // 64
    assert lines <= step.misses.first < 1.01 * lines and lines <= step.misses.second < 1.01 * lines
    assert result.count.misses == step.misses
    [plain] = count_files(find_artifacts([path]), core_named("a55")).results
    assert plain.count and plain.count.misses is None
    assert plain.count.instructions == result.count.instructions, "simulated caches changed what is counted"
