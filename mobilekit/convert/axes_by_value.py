"""onnx2tf's order of axes, told by values where lengths do not tell it.

onnx2tf knows by a tensor's shape alone whether its channels have become the last axis. Where all axes have one length
(as many channels as rows and columns, as many heads as tokens) it guesses, and so it does where maps of two orders meet
in one op. Here each op is run on the values that ONNX Runtime gives it, and its result says which order it is in. A
result that is right in neither is made again, of inputs in one order.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.onnx import all_values, by_definition

Array = NDArray[Any]

_TOLERANCE = 1e-4
"""Share of the largest value of an op's result. On equal inputs one op rounds by some 1e-6 of it."""
_SMALL = 1e-2
"""Share of the largest value that an op takes: a smaller result, as a mean of nearly nothing, is compared with that."""
_ROUNDING = 2e-6
"""The same, of an op that does little more than move values: of two orders that are near, the exact one counts."""
_TENSOR, _IS_LAST = "tf_node", "before_op_output_shape_trans"
"""What onnx2tf notes of a tensor: what has become of it, and whether its channels are the last axis."""
_ELEMENTWISE = {
    "Add": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "Div": "divide",
    "Pow": "pow",
    "Max": "maximum",
    "Min": "minimum",
}
"""TensorFlow's names."""


class AxesByValue:
    """Tells onnx2tf the order of axes of each tensor that it makes.

    Args:
        content: An ONNX file.
        arrays: One array for each of its inputs, by name.
    """

    def __init__(self, content: bytes, arrays: Mapping[str, Array]) -> None:
        self.wrong: list[str] = []
        """Ops whose results are right in no order of axes, in the order of the graph."""
        self._content = content
        self._arrays = arrays
        self._values = all_values(content, arrays)
        self._known: dict[str, tuple[Any, Array]] = {}
        """What has become of a tensor, and the value there."""

    @contextmanager
    def guiding(self) -> Iterator[None]:
        """Within the block onnx2tf converts with the orders that are told here."""
        modules = _makers_of_ops()
        makers = [module.make_node for module in modules]
        for module in modules:
            module.make_node = self._guided(module.make_node)
        try:
            yield
        finally:
            for module, make in zip(modules, makers, strict=True):
                module.make_node = make

    def _guided(self, make: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(make)
        def guided(**arguments: Any) -> Any:
            made = make(**arguments)
            layers, node = arguments["tf_layers_dict"], arguments.get("graph_node")
            if node is None:  # it is an input of the model
                taken = arguments["graph_input"]
                self._tell_of(_Op(taken, layers, lambda: None), taken.name)
            elif not self._tell(op := _Op(node, layers, lambda: make(**arguments))):
                if self._is_by_definition(op):
                    self._values.clear()  # ONNX Runtime is off: what it makes of this says nothing of what follows
                else:
                    self._mend(op)
            return made

        return guided

    def _tell(self, op: _Op) -> bool:
        """Note the order of axes of each result of an op; return whether all are right in one."""
        return False not in [self._tell_of(op, output.name) for output in op.node.outputs]

    def _tell_of(self, op: _Op, name: str) -> bool:
        entry = op.layers.get(name, {})
        tensor, expected = entry.get(_TENSOR), self._values.get(name)
        if expected is None or not _is_computed(tensor):
            return True
        made = self._run(tensor, op)
        self._known[name] = (tensor, made)
        least = _SMALL * max((_largest(self._values[source]) for source in op.sources()), default=0.0)
        errors = {is_last: error_of(made, in_order(expected, is_last), least) for is_last in (False, True)}
        limit = min(_TOLERANCE, 10 * min(errors.values()) + _ROUNDING)
        orders = [is_last for is_last, error in errors.items() if error <= limit]
        if not orders:
            return False
        if entry.get(_IS_LAST) not in orders:
            entry[_IS_LAST] = orders[0]
        self._known[name] = (tensor, in_order(expected, entry[_IS_LAST]))
        return True

    def _is_by_definition(self, op: _Op) -> bool:
        """Return whether a result that is not ONNX Runtime's is that of ONNX's own reference."""
        name = op.node.outputs[0].name
        with suppress(Exception):  # the reference has not all ops, and no names that onnx2tf has changed
            expected = by_definition(self._content, self._values, name)[0]
            made = self._known[name][1]
            return any(error_of(made, in_order(expected, is_last)) <= _TOLERANCE for is_last in (False, True))
        return False

    def _run(self, tensor: Any, op: _Op) -> Array:
        """Return the value of a tensor, computed from those that its op takes."""
        import tf_keras

        sources = {id(known[0]): known for name in op.sources() if (known := self._known.get(name))}
        if sources:
            taken, given = zip(*sources.values(), strict=True)
            with suppress(ValueError):  # onnx2tf has made it of something further up
                return np.asarray(tf_keras.Model(list(taken), tensor)(list(given)))
        return run(tf_keras.Model(op.model_inputs(), tensor), self._arrays)[0]

    def _mend(self, op: _Op) -> None:
        """Make the results of an op again, in ways that leave no doubt, until they are right."""
        before = op.results()
        for again in (self._computed, self._made_of_one_order, self._reordered):
            for is_last in (False, True):
                op.restore(before)
                with suppress(Exception):  # where lengths do not fit, this is not the way
                    if again(op, is_last):
                        return
        op.restore(before)
        self._tell(op)
        self.wrong.append(f"{op.node.name} ({op.node.op})")

    def _computed(self, op: _Op, is_last: bool) -> bool:
        """Call TensorFlow's own function on operands of one order."""
        import tensorflow as tf

        name = op.node.outputs[0].name
        if op.node.op not in _ELEMENTWISE or len(op.node.inputs) != 2:
            return False
        rank = self._values[name].ndim
        operands = [self._operand(op, source, rank, is_last) for source in op.node.inputs]
        op.layers[name][_TENSOR] = getattr(tf, _ELEMENTWISE[op.node.op])(*operands, name=op.node.name)
        return self._tell(op)

    def _operand(self, op: _Op, source: Any, rank: int, is_last: bool) -> Any:
        """Return an operand with so many axes in an order; a constant is turned here."""
        import tensorflow as tf

        if source.name not in op.sources():
            value = np.asarray(source.values)
            return in_order(value.reshape([1] * (rank - value.ndim) + list(value.shape)), is_last)
        tensor = op.turned(source.name, is_last=False)
        if len(tensor.shape) < rank:
            tensor = tf.reshape(tensor, [1] * (rank - len(tensor.shape)) + list(tensor.shape))
        return tf.transpose(tensor, _channels_last(rank)) if is_last and rank > 2 else tensor

    def _made_of_one_order(self, op: _Op, is_last: bool) -> bool:
        """Let onnx2tf make it of inputs in one order."""
        before = {name: (op.layers[name], self._known[name]) for name in op.sources() if name in self._known}
        try:
            for name in before:
                tensor = op.turned(name, is_last)
                op.layers[name] = {**op.layers[name], _TENSOR: tensor, _IS_LAST: is_last and len(tensor.shape) > 2}
                self._known[name] = (tensor, in_order(self._values[name], is_last))
            op.make()
            return self._tell(op)
        finally:
            for name, (entry, known) in before.items():
                op.layers[name], self._known[name] = entry, known

    def _reordered(self, op: _Op, is_last: bool) -> bool:
        """Transpose a result that has the right values."""
        import tensorflow as tf

        name = op.node.outputs[0].name
        made, expected = self._known[name][1], in_order(self._values[name], is_last)
        orders = permutations(range(made.ndim))
        error, order = min((error_of(made.transpose(order), expected), order) for order in orders)
        op.layers[name][_TENSOR] = tf.transpose(op.layers[name][_TENSOR], list(order))
        return error <= _TOLERANCE and self._tell(op)


class _Op:
    """One op as onnx2tf makes it.

    Args:
        node: The op in the ONNX graph.
        layers: onnx2tf's notes of all tensors so far, by name.
        make: Makes the op.
    """

    def __init__(self, node: Any, layers: dict[str, dict[str, Any]], make: Callable[[], Any]) -> None:
        self.node = node
        self.layers = layers
        self.make = make

    def sources(self) -> list[str]:
        """Return the tensors that it takes and that depend on an input."""
        return [
            source.name for source in self.node.inputs if _is_computed(self.layers.get(source.name, {}).get(_TENSOR))
        ]

    def results(self) -> dict[str, dict[str, Any]]:
        """Return a copy of the notes of its results."""
        return {
            output.name: dict(self.layers[output.name]) for output in self.node.outputs if output.name in self.layers
        }

    def restore(self, results: Mapping[str, dict[str, Any]]) -> None:
        """Put notes of results back."""
        self.layers.update({name: dict(entry) for name, entry in results.items()})

    def turned(self, name: str, is_last: bool) -> Any:
        """Return a tensor that it takes with its channels last, or as in ONNX."""
        import tensorflow as tf

        tensor = self.layers[name][_TENSOR]
        rank = len(tensor.shape)
        if rank < 3 or bool(self.layers[name].get(_IS_LAST)) == is_last:
            return tensor
        order = _channels_last(rank)
        return tf.transpose(tensor, order if is_last else np.argsort(order).tolist())

    def model_inputs(self) -> list[Any]:
        """Return the inputs of the model."""
        from onnx2tf.utils.common_functions import get_tf_model_inputs

        return list(get_tf_model_inputs(tf_layers_dict=self.layers))


def run(model: Any, arrays: Mapping[str, Array]) -> list[Array]:
    """Return the outputs of a Keras model that onnx2tf has made.

    Args:
        model: It takes inputs of four axes as NHWC, others as they are in ONNX.
        arrays: Its inputs by name, as in ONNX.
    """
    taken = [arrays[each.name] for each in model.inputs]  # onnx2tf names them as ONNX does
    made = model([array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for array in taken])
    return [np.asarray(result) for result in (made if isinstance(made, list | tuple) else [made])]


def in_order(array: Array, is_last: bool) -> Array:
    """Return an array with its second axis as the last, or as it is."""
    return array.transpose(_channels_last(array.ndim)) if is_last and array.ndim > 2 else array


def error_of(made: Array, expected: Array, least: float = 0.0) -> float:
    """Return the largest difference as a share of the largest value; infinite where shapes or infinities differ.

    Args:
        made: Any array.
        expected: What it should be.
        least: What is taken for the largest value where that is smaller.
    """
    if made.shape != expected.shape:
        return np.inf
    made, expected = (np.asarray(array, np.float64) for array in (made, expected))
    is_finite = np.isfinite(expected)
    if not np.array_equal(made[~is_finite], expected[~is_finite], equal_nan=True):
        return np.inf
    difference = float(np.abs(made[is_finite] - expected[is_finite]).max(initial=0.0))
    if np.isnan(difference):
        return np.inf
    return difference / (max(_largest(expected), least) or 1.0)


def _makers_of_ops() -> list[Any]:
    """Return onnx2tf's modules that make an op each, but those that need packages that are not installed."""
    import onnx2tf.ops

    modules: list[Any] = []
    for each in pkgutil.iter_modules(onnx2tf.ops.__path__, "onnx2tf.ops."):
        with suppress(ImportError):
            modules.append(importlib.import_module(each.name))
    return [module for module in modules if hasattr(module, "make_node")]


def _largest(array: Array) -> float:
    """Return the largest finite magnitude."""
    return float(np.abs(array[np.isfinite(array)].astype(np.float64)).max(initial=0.0))


def _is_computed(tensor: Any) -> bool:
    import tf_keras

    with suppress(ValueError):  # it is no tensor at all
        return bool(tf_keras.backend.is_keras_tensor(tensor))
    return False


def _channels_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]
