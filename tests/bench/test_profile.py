"""Profiles: kinds of ops, ops timed alone, and what is said of a file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from safetensors.numpy import load_file

from mobilekit.artifacts.delegate import FLOAT_ONLY
from mobilekit.artifacts.float_regions import tensors_to_keep
from mobilekit.artifacts.tflite import TFLiteGraph, pack
from mobilekit.bench.artifacts import find_artifacts
from mobilekit.bench.bench import ON_DEVICE, BenchRequest, bench
from mobilekit.bench.engine import RunSettings
from mobilekit.bench.kinds import Op, read_ops
from mobilekit.bench.litert_engine import LiteRTEngine
from mobilekit.bench.profile import ALONE, OpTime, Profile, advice_for, profile_with
from mobilekit.bench.single_ops import single_op, time_ops
from mobilekit.errors import ToolError
from mobilekit.recipes.load import parse_recipe
from mobilekit.store.bundle import MODULES
from mobilekit.store.stages import Stage
from tests.bench.test_choice import PRINTED, Phone
from tests.tflite_by_hand import make_tflite

PRECISIONS = ("float32", "float16", "dynamic", "int8")


@pytest.fixture(scope="module", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Another bench may hold this machine's lock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def ops_of(bundle: Path, precision: str) -> list[Op]:
    return read_ops(bundle / f"model.{precision}.tflite", json.loads((bundle / MODULES).read_text()))


def expected_kind(op: Op, weights: dict[str, Any], classes: dict[str, str]) -> str | None:
    """Return the kind of a layer as the weights of its PyTorch module (out, in / groups, y, x) say; None for others."""
    if op.op not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    parts = (op.module or "").split(".")
    if any(classes.get(".".join(parts[:end])) == "DFCAttention" for end in range(len(parts) + 1)):
        return "DFC"
    _out, each, *kernel = weights[f"{op.module}.weight"].shape
    if each == 1 and op.module != "conv_stem":  # whose picture has one channel
        return "depthwise"
    return "pointwise" if kernel == [1, 1] else "convolution"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layers_are_of_the_kind_that_their_weights_say(digits_bundle: Path, precision: str) -> None:
    weights = load_file(digits_bundle / Stage.REWRITTEN.file)
    classes = json.loads((digits_bundle / MODULES).read_text())["classes"]
    layers = [op for op in ops_of(digits_bundle, precision) if op.op in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert len(layers) == 151
    assert [op.kind for op in layers] == [expected_kind(op, weights, classes) for op in layers]


def test_the_kinds_of_a_model_with_gates(digits_bundle: Path) -> None:
    classes = json.loads((digits_bundle / MODULES).read_text())["classes"]
    attentions = sum(name == "DFCAttention" for name in classes.values())
    assert attentions == 14
    kinds = Counter((op.op, op.kind) for op in ops_of(digits_bundle, "float32"))
    assert kinds["LOGISTIC", "gate"] == kinds["MUL", "gate"] == attentions
    pools = kinds["CONV_2D", "DFC"] + kinds["DEPTHWISE_CONV_2D", "DFC"] - 3 * attentions
    assert pools == attentions, "beside a pointwise and two depthwise convolutions"
    assert {kind for op, kind in kinds if op == "RESHAPE"} == {"reshape"}, "a small map's, too, are of the product"
    assert kinds["FULLY_CONNECTED", "fully connected"] == 1
    assert {kind for op, kind in kinds if op == "ADD"} == {"elementwise"}


def test_which_ops_compute_with_integers(digits_bundle: Path) -> None:
    assert not any(op.quantized for op in ops_of(digits_bundle, "float32"))
    assert all(op.quantized for op in ops_of(digits_bundle, "int8"))


def test_a_lone_file_has_kinds_and_no_modules(digits_bundle: Path) -> None:
    ops = read_ops(digits_bundle / "model.float32.tflite", None)
    assert {op.module for op in ops} == {None}
    kinds = Counter(op.kind for op in ops)
    assert kinds["depthwise"] == 83, "those of the model, and 14 pools"
    assert "DFC" not in kinds and "gate" not in kinds


def test_a_file_that_is_cut_has_no_ops(digits_bundle: Path, tmp_path: Path) -> None:
    content = (digits_bundle / "model.int8.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ToolError, match=re.escape(f"LiteRT cannot open {path}: ")):
        read_ops(path, None)


# Ops alone.


def run_all(path: Path) -> dict[str, Any]:
    """Run a file on random inputs with the plain kernels; return the value of every tensor."""
    interpreter = plain(model_path=str(path))
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        value = generator.standard_normal(detail["shape"])
        value = value.astype(np.float32) if detail["dtype"] is np.float32 else (20 * value).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    values = {}
    for detail in interpreter.get_tensor_details():
        try:
            values[detail["name"]] = interpreter.get_tensor(detail["index"]).copy()
        except ValueError:  # scratch of a kernel
            continue
    return values


def plain(**changes: Any) -> Interpreter:
    interpreter = Interpreter(
        **changes,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_op_alone_computes_what_it_computes_in_the_whole(digits_bundle: Path, precision: str) -> None:
    path = digits_bundle / f"model.{precision}.tflite"
    graph, values = TFLiteGraph(path.read_bytes()), run_all(path)
    count = len(graph.kinds)
    sizes = []
    for index in range(count):
        alone = plain(model_content=single_op(graph, index))
        for detail in alone.get_input_details():
            alone.set_tensor(detail["index"], values[detail["name"]])
        alone.invoke()
        (output,) = alone.get_output_details()
        assert np.array_equal(alone.get_tensor(output["index"]), values[output["name"]]), output["name"]
        sizes.append(len(alone._get_ops_details()))
    assert count == {"float16": 589, "int8": 321}.get(precision, 303)
    assert max(sizes) <= 4, "an op, its padding, and what unpacks its weights"


def test_parts_of_other_ops_take_no_time_of_their_own(digits_bundle: Path) -> None:
    path = digits_bundle / "model.float16.tflite"
    ops = read_ops(path, None)
    times = time_ops(path, 1)
    assert [entry["index"] for entry in times] == [op.index for op in ops]
    ms = {op.index: entry["ms"] for op, entry in zip(ops, times, strict=True)}
    assert all(value is not None for value in ms.values())
    assert {op.op for op in ops if ms[op.index] == 0} == {"DEQUANTIZE", "PAD"}
    layers = [ms[op.index] for op in ops if op.op in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert len(layers) == 151 and min(layers) > 0
    assert 0 < sum(ms.values()) < 1000


def test_files_of_old_converters_have_their_op_codes_in_another_field(digits_bundle: Path) -> None:
    graph = TFLiteGraph((digits_bundle / "model.float16.tflite").read_bytes())
    layer = graph.kinds.index("CONV_2D")
    new = single_op(graph, layer)
    for code in graph.model.operatorCodes:
        assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)
        code.builtinCode = 0
    assert TFLiteGraph(pack(graph.model)).kinds == graph.kinds
    old = single_op(graph, layer)
    assert len(plain(model_content=old)._get_ops_details()) == len(plain(model_content=new)._get_ops_details()) >= 3


def test_an_op_that_cannot_run_alone_has_no_time(digits_bundle: Path, tmp_path: Path) -> None:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf((digits_bundle / "model.float32.tflite").read_bytes(), 0)
    dense = schema.BuiltinOperator.FULLY_CONNECTED
    (code,) = (code for code in model.operatorCodes if code.builtinCode == dense)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"Unheard"
    model.subgraphs[0].operators = model.subgraphs[0].operators[-3:]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "custom.tflite"
    path.write_bytes(bytes(builder.Output()))
    times = [entry["ms"] for entry in time_ops(path, 1)]
    codes = [model.operatorCodes[op.opcodeIndex] for op in model.subgraphs[0].operators]
    assert [ms is None for ms in times] == [code.customCode == b"Unheard" for code in codes]
    assert times.count(None) == 1


# Profiles.


def entry(ms: float | None, kind: str = "pointwise", module: str | None = "a.b.c", delegated: bool = True) -> OpTime:
    return OpTime(0, "CONV_2D", "t", module, kind, False, ms, delegated)


def test_sums_by_kind_and_module() -> None:
    profile = Profile.of(
        "made up",
        (
            entry(1.0),
            entry(2.0, "depthwise", "a.b.d"),
            entry(4.0, module="e", delegated=False),
            entry(None, "gate", None),
            entry(0.5, "gate", None, delegated=False),
        ),
        unplaced_ms=0.25,
    )
    assert profile.total_ms == 7.75
    assert list(profile.by_kind.items()) == [("pointwise", 5.0), ("depthwise", 2.0), ("gate", 0.5)]
    assert list(profile.by_module.items()) == [("e", 4.0), ("a.b", 3.0), ("(unknown)", 0.5)]
    assert profile.undelegated_ms == 4.5
    content = json.loads(json.dumps(profile.to_json()))
    assert content["ops"][0] == {
        "index": 0,
        "op": "CONV_2D",
        "tensor": "t",
        "module": "a.b.c",
        "kind": "pointwise",
        "quantized": False,
        "ms": 1.0,
        "delegated": True,
    }


def test_a_kind_of_which_no_time_is_known_has_none() -> None:
    """As where a GPU's delegate is one row of the tool's profile."""
    profile = Profile.of("made up", (entry(None), entry(None, "depthwise"), entry(1.0, "gate")), unplaced_ms=7.05)
    assert profile.by_kind == {"gate": 1.0} and profile.total_ms == pytest.approx(8.05)


def test_without_alignment_there_are_no_modules() -> None:
    assert Profile.of("made up", (entry(1.0, module=None),)).by_module == {}


def printed_profile(ops: Sequence[Op], *, inside: Sequence[str] = (), taken: frozenset[int] = frozenset()) -> str:
    """Return what benchmark_model 2.14 prints of a run in which each op took 0.01 ms and 0.001 ms a number."""
    head = "\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]\n"
    rows = [
        f"\t{op.op}\t0.1\t{0.01 + op.index / 1000:.3f}\t1.0%\t1.0%\t0.0\t1\t[{op.tensor}]:{op.index}\n"
        for op in ops
        if op.index not in taken
    ]
    title = "============================== Run Order ==============================\n"
    text = f"INFO: Operator-wise Profiling Info for Regular Benchmark Runs:\n{title}{head}{''.join(rows)}"
    if inside:
        whole = 0.002 * len(inside)
        text += f"\tTfLiteXNNPackDelegate\t0.1\t{whole:.3f}\t1.0%\t1.0%\t0.0\t1\t[x]:{len(ops)}\n"
        steps = "".join(f"\t{step}\t0.1\t0.002\t1.0%\t1.0%\t0.0\t1\tDelegate/{step}:0\n" for step in inside)
        text += f"\nDelegate internal: \n{title}{head}{steps}"
    return PRINTED.replace("{", "{{").replace("}", "}}").replace("{{graph}}", "{graph}") + text + "\n"


def profiles_of(phone: Phone, request: BenchRequest) -> list[Profile]:
    return list((bench(phone, request).profiles or {}).values())


def test_a_phones_profile_is_mapped_to_modules(digits_bundle: Path) -> None:
    artifact = find_artifacts([digits_bundle / "model.int8.tflite"])
    ops = ops_of(digits_bundle, "int8")
    phone = Phone(ON_DEVICE, printed=printed_profile(ops))
    (profile,) = profiles_of(phone, BenchRequest(tuple(artifact), rounds=1, profile=True))
    assert phone.runs[-1][0][-2:] == ["--enable_op_profiling=true", "--max_profiling_buffer_entries=16384"]
    assert not any("profiling" in word for word in phone.runs[0][0])
    assert [each.ms for each in profile.ops] == pytest.approx([0.01 + n / 1000 for n in range(321)])
    assert profile.total_ms == pytest.approx(321 * 0.01 + sum(range(321)) / 1000)
    stem = sum(0.01 + op.index / 1000 for op in ops if op.module == "conv_stem")
    assert profile.by_module["conv_stem"] == pytest.approx(stem)
    assert profile.undelegated_ms == pytest.approx(profile.total_ms)
    assert {each.reason for each in profile.undelegated} == {"no delegate took part"}


def test_a_phones_delegate_is_mapped_to_ops_with_what_it_left(digits_bundle: Path) -> None:
    artifact = find_artifacts([digits_bundle / "model.int8.tflite"])
    ops = ops_of(digits_bundle, "int8")
    left = [op for op in ops if op.op == "ADD"]
    taken = frozenset(op.index for op in ops) - {op.index for op in left}
    layers = [op for op in ops if op.op in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    steps = [f"Convolution (NHWC, QS8) {'IGEMM' if op.op == 'CONV_2D' else 'DWConv'}" for op in layers]
    phone = Phone(ON_DEVICE, printed=printed_profile(ops, inside=steps, taken=taken))
    (profile,) = profiles_of(phone, BenchRequest(tuple(artifact), rounds=1, profile=True))
    told = {each.index: each for each in profile.ops}
    assert [told[op.index].ms for op in layers] == pytest.approx([0.002] * len(layers))
    assert {index for index, each in told.items() if not each.delegated} == {op.index for op in left}
    assert profile.partitions == 1
    reasons = {(each.op, each.reason) for each in profile.undelegated}
    assert reasons == {("ADD", "the device's delegate left it")}
    assert profile.total_ms == pytest.approx(sum(0.01 + op.index / 1000 for op in left) + 0.002 * len(layers), abs=1e-6)


def test_this_machines_profile(digits_bundle: Path) -> None:
    (artifact,) = find_artifacts([digits_bundle / "model.dynamic.tflite"])
    profile = profile_with(LiteRTEngine(), artifact, RunSettings())
    assert profile.source == ALONE
    assert len(profile.ops) == 303
    assert (profile.partitions, profile.undelegated, profile.undelegated_ms) == (1, (), 0)
    assert all(each.delegated for each in profile.ops)
    assert sum(profile.by_kind.values()) == pytest.approx(sum(profile.by_module.values()))
    assert "(unknown)" not in profile.by_module


ADVISED = {
    kind: advice for kind in sorted(FLOAT_ONLY) if (advice := advice_for(Op(0, kind, "t", None, "", quantized=True)))
}


def test_what_is_in_float_already_gets_no_advice() -> None:
    assert set(ADVISED) == {"BATCH_MATMUL", "DIV", "HARD_SWISH", "RSQRT"}
    for kind in FLOAT_ONLY:
        assert advice_for(Op(0, kind, "t", None, "", quantized=False)) == ""
    assert advice_for(Op(0, "GATHER", "t", None, "", quantized=True)) == ""


@pytest.mark.parametrize("kind", ADVISED)
def test_what_is_advised_is_a_recipes_setting_and_keeps_the_op_in_float(kind: str) -> None:
    recipe = parse_recipe(ADVISED[kind], "advised", "advised.yaml").recipe
    (word,) = recipe.int8.keep_float
    assert word in ADVISED[kind], "it is no word that was given another name"
    taken = ("x",) if kind in ("HARD_SWISH", "RSQRT") else ("x", "x")
    content = make_tflite([("ADD", ("x", "x"), "before"), (kind, taken, "made")], (1, 4), ["made"])
    assert "made" in tensors_to_keep(content, recipe.int8.keep_float)
    assert tensors_to_keep(content, ()) == set()
