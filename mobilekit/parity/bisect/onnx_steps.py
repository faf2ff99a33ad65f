"""An ONNX graph as steps that can be run again from any of its tensors, each by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.runtime import is_label
from mobilekit.errors import ToolError, first_line
from mobilekit.parity.bisect.layouts import Floats
from mobilekit.parity.bisect.steps import Steps, Values, dependent

Treatment = Callable[[Floats], Floats]
SIZES = ("Shape", "Size")
"""Kinds of nodes whose results do not depend on the values that they take."""


class OnnxSteps(Steps):
    """The nodes of an ONNX model; a step is a tensor that a node makes. Sizes count as constant.

    Args:
        model: An onnx.ModelProto.
        inputs: One of each input by name, float32 (1, ...).
        output_hook: Is done to each float32 tensor that a node makes.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Floats], output_hook: Treatment | None = None) -> None:
        from onnx import numpy_helper

        self._model, self._output_hook = model, output_hook
        graph = model.graph
        self._constants: Values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._nodes = {name: node for node in graph.node for name in node.output if name}
        self._sessions: dict[str, Any] = {}
        taken = [value.name for value in graph.input if value.name not in self._constants]
        self.inputs = {name: name for name in taken}
        self.outputs = [value.name for value in graph.output]
        reads = {name: [one for one in self._nodes[name].input if one] for name in self._nodes}
        order = [*taken, *(name for name, node in self._nodes.items() if node.op_type not in SIZES)]
        self.names = dependent(order, {**{name: [] for name in taken}, **reads}, taken)
        self._computed = set(self.names)
        values: Values = {**self._constants, **inputs}
        for name in self._nodes:
            values[name] = self._hooked(self._call(name, values))
        self.cached = {name: values[name] for name in self.names}
        self.reads = {name: tuple(each for each in reads.get(name, []) if each in self.cached) for name in self.names}
        self._constants = {name: value for name, value in values.items() if name not in self.cached}

    def compute(self, step: str, values: Mapping[str, Any]) -> Any:
        """See `Steps.compute`."""
        return self._hooked(self._call(step, values))

    def _hooked(self, result: NDArray[Any]) -> NDArray[Any]:
        return self._output_hook(result) if self._output_hook and result.dtype == np.float32 else result

    def _call(self, step: str, values: Mapping[str, Any]) -> NDArray[Any]:
        node = self._nodes[step]
        names = dict.fromkeys(name for name in node.input if name)
        arrays = {name: values[name] for name in names if name in self._computed}
        constants = {name: self._constants.get(name, values.get(name)) for name in names if name not in arrays}
        try:
            if step not in self._sessions:
                self._sessions[step] = _session(self._model, node, step, arrays, constants)
            result: NDArray[Any] = self._sessions[step].run([step], arrays)[0]
        except Exception as error:  # ONNX Runtime raises classes of its own for each status
            raise ToolError(
                f"ONNX Runtime cannot run the node {node.name or step} by itself: {first_line(error)}."
            ) from error
        return result

    def at(self, name: str) -> NDArray[Any]:
        """Return a tensor for the inputs that the graph was opened with; it may be a constant."""
        value: NDArray[Any] = self.cached[name] if name in self.cached else self._constants[name]
        return value

    def module(self, step: str) -> str:
        """Return the name of the node that makes a tensor, or its kind and the tensor's name."""
        node = self._nodes.get(step)
        return step if node is None else node.name or f"{node.op_type} {step}"

    def value(self, step: str, array: NDArray[Any]) -> NDArray[Any]:
        """See `Steps.value`."""
        return array.astype(self.cached[step].dtype, copy=False)

    def array(self, value: Any) -> NDArray[Any] | None:
        """See `Steps.array`."""
        if not isinstance(value, np.ndarray):
            return None
        return value.astype(np.int64, copy=False) if is_label(value) else value if value.dtype == np.float32 else None


def _session(model: Any, node: Any, output: str, arrays: Values, constants: Values) -> Any:
    """Return what runs one node."""
    from onnx import helper, numpy_helper

    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
        for name, array in arrays.items()
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "node", inputs, [helper.make_empty_tensor_value_info(output)], initializers)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return open_session(alone.SerializeToString())
