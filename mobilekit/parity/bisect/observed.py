"""A candidate as it was seen in one run: its ops, and the value of each of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.runtime import is_label
from mobilekit.errors import ToolError, first_line
from mobilekit.parity.bisect.layouts import Floats

_SIZES = ("Shape", "Size", "SHAPE", "RANK")


@dataclass(frozen=True)
class Op:
    """One op of a candidate; constants are not among its inputs."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    index: int
    """Its place among all ops of the file."""


@dataclass(frozen=True)
class Observed:
    """A candidate after one run. Tensors have keys: their numbers in a TFLite file, their names in an ONNX file."""

    ops: Sequence[Op]
    """Those that depend on the inputs, in the order in which they run."""
    values: Mapping[str, Floats]
    """Of each tensor that is an input or is made, float32, or int64 where it has labels; quantized ones as the numbers
    that they stand for."""
    inputs: Mapping[str, str]
    """The tensor of each input, by the reference's name for it."""
    outputs: Sequence[str]
    steps: Mapping[str, float] = field(default_factory=dict)
    """Distance of two neighboring values of each quantized tensor."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of the tensors, where they are not the keys."""

    def name(self, tensor: str) -> str:
        """Return a tensor's name in the file."""
        return self.names.get(tensor, tensor)


def observe(path: Path, inputs: Mapping[str, tuple[str, Floats]], outputs: Sequence[str]) -> Observed:
    """Run a candidate once and keep the value of each tensor: no delegate takes part, and nothing is optimized.

    Args:
        path: An .onnx or .tflite file.
        inputs: For each of the reference's inputs the candidate's name for it, and one batch (N, ...), images NCHW.
        outputs: The candidate's names of the outputs, in the order wanted.

    Raises:
        ToolError: The file cannot be run op by op.
    """
    return _observe_onnx(path, inputs, outputs) if path.suffix == ".onnx" else _observe_tflite(path, inputs, outputs)


def _observe_tflite(path: Path, inputs: Mapping[str, tuple[str, Floats]], outputs: Sequence[str]) -> Observed:
    runtime = LiteRTRuntime(path, keep_tensors=True)
    runtime.run(dict(inputs.values()))
    interpreter = runtime.interpreter
    infos = {info.index: info for info in runtime.tensors()}
    ops = [
        Op(
            op["op_name"],
            tuple(str(int(index)) for index in op["inputs"]),
            tuple(str(int(index)) for index in op["outputs"] if int(index) in infos),
            number,
        )
        for number, op in enumerate(interpreter._get_ops_details())
    ]
    numbers = {info.name: str(info.index) for info in (*runtime.inputs, *runtime.outputs)}
    taken = {name: numbers[own] for name, (own, _) in inputs.items()}
    ops = computing(ops, taken.values())
    keys = [*taken.values(), *(tensor for op in ops for tensor in op.outputs)]
    values = {key: _as_values(runtime.value_of(infos[int(key)])) for key in keys}
    steps = {key: scale for key in keys if (scale := infos[int(key)].scale)}
    names = {key: infos[int(key)].name for key in keys}
    return Observed(ops, values, taken, [numbers[name] for name in outputs], steps, names)


def _observe_onnx(path: Path, inputs: Mapping[str, tuple[str, Floats]], outputs: Sequence[str]) -> Observed:
    """Run an ONNX file with every tensor as an output."""
    import onnx
    from onnx import helper

    model = onnx.load(path)
    nodes = [(node.op_type, [n for n in node.input if n], [n for n in node.output if n]) for node in model.graph.node]
    ops = [Op(kind, tuple(takes), tuple(makes), number) for number, (kind, takes, makes) in enumerate(nodes)]
    taken = {name: tensor for name, (tensor, _) in inputs.items()}
    ops = computing(ops, taken.values())
    made = [tensor for op in ops for tensor in op.outputs]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in made if name not in known)
    feeds = dict(inputs.values())
    types = {one.name: helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type) for one in model.graph.input}
    given = {name: array.astype(types[name], copy=False) for name, array in feeds.items()}
    try:
        arrays = open_session(model.SerializeToString()).run(made, given)
    except Exception as error:  # ONNX Runtime raises classes of its own for each status
        raise ToolError(f"ONNX Runtime cannot show the tensors of {path.name}: {first_line(error)}.") from error
    values = {**feeds, **dict(zip(made, map(_as_values, arrays), strict=True))}
    return Observed(ops, values, taken, list(outputs), _onnx_steps(model))


def _as_values(array: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(array)
    return values.astype(np.int64 if is_label(values) else np.float32, copy=False)


def computing(ops: Sequence[Op], inputs: Any) -> list[Op]:
    """Return the ops that depend on the values of the inputs, without the constants among what they take."""
    found = set(inputs)
    kept = []
    for op in ops:
        if op.kind in _SIZES:
            continue
        takes = tuple(tensor for tensor in op.inputs if tensor in found)
        if takes:
            found.update(op.outputs)
            kept.append(Op(op.kind, takes, op.outputs, op.index))
    return kept


def _onnx_steps(model: Any) -> dict[str, float]:
    """Return the step of each tensor that a DequantizeLinear makes with one scale."""
    from onnx import numpy_helper

    constants = {one.name: one for one in model.graph.initializer}
    steps = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[1] in constants:
            scale = numpy_helper.to_array(constants[node.input[1]])
            if scale.size == 1:
                steps[node.output[0]] = float(scale.reshape(()))
    return steps
