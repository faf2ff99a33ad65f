"""ONNX files that compute with integers, in QDQ form: what ONNX Runtime's quantizer makes with our ranges and biases.

Each value stands between a QuantizeLinear and a DequantizeLinear, which ONNX Runtime and Qualcomm's compiler fuse with
the ops around them. Weights have a scale for each output channel.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.float_regions import ops_to_keep
from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.runtime import batches
from mobilekit.convert.int8.bias import rounded
from mobilekit.convert.int8.calibration import Observed
from mobilekit.convert.int8.ranges import WHOLE, WITH_ROOM, Range, Seen, is_kept_back

Arrays = Mapping[str, NDArray[np.float32]]
Values = dict[str, NDArray[np.float32]]

_LAYERS = ("Conv", "ConvTranspose", "Gemm")
"""Nodes that have a bias."""
_SEEDS = {
    "division": ("Div",),
    "attention": ("Softmax", "MatMul", "Einsum"),
    "normalization": ("Sqrt", "LayerNormalization", "GroupNormalization", "InstanceNormalization"),
    "exponential": ("Exp", "Log", "CumSum", "Softplus", "Mish"),
    "coordinates": ("GridSample", "Gather", "GatherElements", "GatherND"),
    "hard-swish": ("HardSwish",),
    "residual-add": ("Add",),
}
_OF_TWO_COMPUTED = ("MatMul", "Einsum", "Add", *_SEEDS["coordinates"])
"""Nodes that count as seeds where both of their operands are computed."""
_MOVES = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
_BOUNDED = ("Clip", "HardSigmoid", "Max", "Min", "Relu", "Sigmoid", "Softmax", "Tanh")
"""Nodes whose results go as far as their function, whatever they take, or end at a clamp."""
_OPSET_OF_INT16 = 21
_INTEGERS = ("Cast", "ArgMax", "ArgMin", "Shape")
"""Nodes that make or take no quantities."""


class OnnxGraph:
    """An ONNX model's nodes and tensors by their names.

    Args:
        model: An `onnx.ModelProto` with static shapes; nodes without a name get one.
    """

    def __init__(self, model: Any) -> None:
        from onnx import TensorProto, shape_inference

        self.model = shape_inference.infer_shapes(model)
        graph = self.model.graph
        self.constants = {one.name: one for one in graph.initializer}
        self.nodes = list(graph.node)
        for number, node in enumerate(self.nodes):
            node.name = node.name or f"{node.op_type}_{number}"
        self.makers = {made: number for number, node in enumerate(self.nodes) for made in node.output}
        self.readers: dict[str, list[int]] = defaultdict(list)
        for number, node in enumerate(self.nodes):
            for taken in node.input:
                self.readers[taken].append(number)
        self.before = [[self.makers[one] for one in node.input if one in self.makers] for node in self.nodes]
        self.after = [[reader for made in node.output for reader in self.readers[made]] for node in self.nodes]
        values = (*graph.input, *graph.value_info, *graph.output)
        self.floats = {one.name for one in values if one.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.floats -= self.constants.keys()
        self.inputs, self.outputs = ([one.name for one in ends] for ends in (graph.input, graph.output))

    def weights(self, node: Any) -> NDArray[np.float32] | None:
        """Return a layer's weights; None of a node that is no layer with stored float weights."""
        from onnx import numpy_helper

        if node.op_type not in _LAYERS or node.input[1] not in self.constants:
            return None
        return np.asarray(numpy_helper.to_array(self.constants[node.input[1]]))

    def is_dense(self, number: int) -> bool:
        """Return whether a node multiplies by stored weights."""
        node = self.nodes[number]
        return node.op_type in (*_LAYERS, "MatMul") and any(name in self.constants for name in node.input)

    def seeds(self, word: str) -> set[int]:
        """Return the nodes that a word of `keep_float` is about."""
        computed = {*self.makers, *self.inputs}
        return {
            number
            for number, node in enumerate(self.nodes)
            if node.op_type in _SEEDS[word]
            and (
                node.op_type not in _OF_TWO_COMPUTED
                or (computed.issuperset(node.input) and node.input[1] in self.makers)
            )
        }

    def maker_of_places(self, number: int) -> int:
        """Return the node that makes the places which a seed of `coordinates` reads at."""
        return self.makers[self.nodes[number].input[1]]

    def softmaxes(self) -> list[int]:
        """Return the softmaxes."""
        return self._of(("Softmax",))

    def sums(self) -> list[int]:
        """Return the sums and means over axes."""
        return self._of(("ReduceSum", "ReduceMean"))

    def _of(self, kinds: Collection[str]) -> list[int]:
        return [number for number, node in enumerate(self.nodes) if node.op_type in kinds]


def nodes_to_keep(graph: OnnxGraph, keep_float: Collection[str], modules: Collection[str]) -> set[int]:
    """Return the nodes that stay in float, by what a recipe's `keep_float` and `float_modules` say."""
    kept = {number for number, node in enumerate(graph.nodes) if _is_inside(node.name, modules)}
    return kept | ops_to_keep(graph, keep_float)


def _is_inside(name: str, modules: Collection[str]) -> bool:
    """Return whether a node, called `MODULE/Kind`, is in one of these modules; `*` stands for any characters."""
    parts = name.rpartition("/")[0].split(".")
    paths = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return any(fnmatchcase(path, module) for path in paths for module in modules)


def observe(graph: OnnxGraph, calibration: Arrays) -> Observed[str]:
    """Run a float32 model on calibration inputs, and record each float tensor that it takes or makes.

    Args:
        graph: The model.
        calibration: float32 (N, ...) by the names of the inputs.
    """
    import onnx

    tapped = copy.deepcopy(graph.model)
    made = [name for name in graph.makers if name in graph.floats]
    tapped.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in graph.outputs)
    session = open_session(tapped.SerializeToString())
    layers = {node.input[0] for node in graph.nodes if graph.weights(node) is not None}
    size = session.get_inputs()[0].shape[0]
    found = {name: Seen() for name in (*graph.inputs, *made)}
    sums: dict[str, NDArray[np.float64]] = {}
    inputs, outputs, runs = list[Values](), list[Values](), 0
    for parts in zip(*(batches(array, size) for array in calibration.values()), strict=True):
        given = dict(zip(calibration, map(np.ascontiguousarray, parts), strict=True))
        values = {**given, **dict(zip(made, session.run(made, given), strict=True))}
        for name, seen in found.items():
            seen.add(values[name])
        for name in layers & values.keys():
            sums[name] = sums.get(name, 0) + values[name].astype(np.float64)
        if is_kept_back(runs):
            inputs.append(given)
            outputs.append({name: np.atleast_1d(values[name]) for name in graph.outputs if name in made})
        runs += 1
    return Observed(found, {name: total / runs for name, total in sums.items()}, runs, inputs, outputs)


def choose_rules(graph: OnnxGraph, seen: Mapping[str, Seen], spares_all: bool = False) -> dict[str, str]:
    """Return the rule for each tensor as `ranges.choose_rules` does: outputs, and what is moved to one, have room."""
    rules, waiting = {name: one.best(spares_all) for name, one in seen.items()}, [*graph.outputs]
    while waiting:
        name = waiting.pop()
        maker = graph.nodes[graph.makers[name]] if name in graph.makers else None
        rules[name] = WHOLE if maker and maker.op_type in _BOUNDED else WITH_ROOM
        if maker and maker.op_type in _MOVES:
            waiting.append(maker.input[0])
    rules |= dict.fromkeys(graph.inputs, WHOLE)
    return {name: rules[name] for name in seen}


def correct_biases(graph: OnnxGraph, means: Mapping[str, NDArray[np.float64]], kept: Collection[int] = ()) -> Any:
    """Return the model with biases that make up for what rounding the weights takes; see `int8.bias`.

    Args:
        graph: Of the model, which stays as it is.
        means: Of what each layer takes, over the calibration inputs.
        kept: Nodes that stay in float.
    """
    from onnx import numpy_helper

    layers = [
        (number, weights)
        for number, node in enumerate(graph.nodes)
        if number not in kept and node.input[0] in means and (weights := graph.weights(node)) is not None
    ]
    model = copy.deepcopy(graph.model)
    addends = _mean_outputs(graph, layers, means)
    for number, _weights in layers:
        node = model.graph.node[number]
        held = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if held is None and len(node.input) > 2 and node.input[2]:
            continue  # a bias that is computed
        before = 0.0 if held is None else numpy_helper.to_array(held).astype(np.float64)
        bias, name = (before + addends[number]).astype(np.float32), f"{node.name}/corrected_bias"
        model.graph.initializer.append(numpy_helper.from_array(bias, name))
        node.input[:] = [*node.input[:2], name]
    used = {name for node in model.graph.node for name in node.input}
    kept_constants = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept_constants)
    return model


def _mean_outputs(
    graph: OnnxGraph, layers: list[tuple[int, NDArray[np.float32]]], means: Mapping[str, NDArray[np.float64]]
) -> dict[int, NDArray[np.float64]]:
    """Return, by the layer, the mean of each channel that it would make with what rounding takes from its weights.

    A layer is linear, so this is what the inputs' mean gives: all layers are run once, side by side.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, inputs, outputs, constants, given = [], [], [], [], {}
    for number, weights in layers:
        node = copy.deepcopy(graph.nodes[number])
        mean = means[node.input[0]].astype(np.float32)
        lost = (weights - rounded(weights, _channels(node))).astype(np.float32)
        node.input[:], node.output[:] = [f"mean{number}", f"lost{number}"], [f"made{number}"]
        given[node.input[0]] = mean
        nodes.append(node)
        inputs.append(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, mean.shape))
        outputs.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None))
        constants.append(numpy_helper.from_array(lost, node.input[1]))
    if not nodes:
        return {}
    model = helper.make_model(
        helper.make_graph(nodes, "lost", inputs, outputs, constants),
        opset_imports=graph.model.opset_import,
        ir_version=graph.model.ir_version,
    )
    made = open_session(model.SerializeToString()).run([node.output[0] for node in nodes], given)
    return {
        number: one.mean(axis=tuple(axis for axis in range(one.ndim) if axis != 1), dtype=np.float64)
        for (number, _), one in zip(layers, made, strict=True)
    }


def _channels(node: Any) -> int | None:
    """Return which axis of a layer's weights has a scale for each of its places; None where all have one.

    It is the axis of the output's channels. Those of a grouped ConvTranspose lie along two, groups among the input's
    channels, and QuantizeLinear has one: ONNX Runtime 1.32's quantizer then fails at the bias.
    """
    if node.op_type == "ConvTranspose" and any(one.name == "group" and one.i > 1 for one in node.attribute):
        return None
    if node.op_type == "Gemm":
        return 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1


def quantized(model: Any, ranges: Mapping[str, Range], kept: Collection[str], precision: str) -> Any:
    """Return a float32 model in QDQ form.

    Args:
        model: The model, which is left as it is.
        ranges: Of each tensor.
        kept: Names of nodes that stay in float.
        precision: int8; or int16x8, whose values are uint16, as onnxruntime-qnn 2.7.0 takes no int16.
    """
    from onnx import version_converter
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    is_wide = precision != "int8"
    kind = QuantType.QUInt16 if is_wide else QuantType.QInt8
    weight = {"quant_type": QuantType.QInt8, "symmetric": True}
    known = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    source = version_converter.convert_version(model, _OPSET_OF_INT16) if is_wide else copy.deepcopy(model)
    together = {
        node.input[1]: [weight] for node in model.graph.node if node.op_type in _LAYERS and _channels(node) is None
    }
    quantizer = QDQQuantizer(
        source,
        True,  # a scale for each channel of the weights
        False,
        QuantType.QInt8,
        kind,
        TensorsData(CalibrationMethod.MinMax, known),
        [],
        sorted(kept),
        sorted({node.op_type for node in model.graph.node} - {*_INTEGERS}),
        {
            "ActivationSymmetric": is_wide,
            "WeightSymmetric": True,
            "QDQKeepRemovableActivations": is_wide,
            "TensorQuantOverrides": together,
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model
