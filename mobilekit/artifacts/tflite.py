"""TFLite files, read and written as objects: the one place that takes them apart.

`cut_tflite` cuts ops out of one, and `LiteRTRuntime` runs one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAP = "tap_"
"""How the names of outputs begin that show a value inside, in a copy of a model that is made to look into."""
_DTYPES: dict[str, type[np.generic]] = {
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


def schema() -> Any:
    """Return the classes of TFLite's schema; they take a moment to import."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpack(content: bytes) -> Any:
    """Return a TFLite file as objects that can be changed (`ModelT` of the schema).

    What is no whole TFLite file fails in whatever way its first wrong byte leads to.
    """
    return schema().ModelT.InitFromObj(schema().Model.GetRootAsModel(content, 0))


def pack(model: Any) -> bytes:
    """Return the TFLite file of such objects."""
    import flatbuffers

    constants = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(constants + (1 << 20))  # one that has to grow is copied each time
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def kinds(model: Any) -> list[str]:
    """Return the name of each of a model's operator codes; files of old converters have it in another field."""
    names = _names("BuiltinOperator")
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [names.get(code, f"OP_{code}") for code in codes]


def type_of(tensor: Any) -> str:
    """Return the schema's name of a tensor's number format, such as `FLOAT32`."""
    return _names("TensorType").get(tensor.type, f"TYPE_{tensor.type}")


def constant(model: Any, tensor: Any) -> NDArray[Any] | None:
    """Return what a constant tensor holds, in its shape; None for a tensor that is computed.

    Formats that numpy has not, and constants that are packed or sparse, come as bytes in one row.
    """
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    array = np.frombuffer(bytes(data), np.uint8).view(_DTYPES.get(type_of(tensor), np.uint8))
    shape = numbers(tensor.shape)
    return array.reshape(shape) if array.size == np.prod(shape, dtype=np.int64) else array


def add_buffer(model: Any, values: NDArray[Any]) -> int:
    """Add a constant's values to a model, and return the number of their buffer."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_tensor(model: Any, name: str, kind: str, shape: Sequence[int]) -> int:
    """Add a tensor that is not constant yet to a model's first graph, and return its number.

    Args:
        model: The model.
        name: Of the tensor.
        kind: The schema's name of its number format.
        shape: Its shape.
    """
    tensor = schema().TensorT()
    tensor.name, tensor.type = name.encode(), getattr(schema().TensorType, kind)
    tensor.shape, tensor.buffer = np.array(shape, np.int32), 0
    tensor.quantization = schema().QuantizationParametersT()
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def add_constant(model: Any, values: NDArray[Any], name: str = "constant") -> int:
    """Add a constant to a model's first graph, and return its number; a number is put behind its name."""
    kind = next(kind for kind, dtype in _DTYPES.items() if values.dtype == dtype)
    number = add_tensor(model, f"{name}_{len(model.subgraphs[0].tensors)}", kind, values.shape)
    model.subgraphs[0].tensors[number].buffer = add_buffer(model, values)
    return number


def code_of(model: Any, kind: str, version: int = 1) -> int:
    """Return the number of a model's operator code of a kind, of this version or later; it is added where it lacks."""
    known = kinds(model)
    if kind in known:
        number = known.index(kind)
        model.operatorCodes[number].version = max(model.operatorCodes[number].version, version)
        return number
    code = schema().OperatorCodeT()
    code.builtinCode = getattr(schema().BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # 127 says that the other field counts
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def new_op(model: Any, kind: str, taken: Sequence[int], made: int, version: int = 1) -> Any:
    """Return an op with its kind's options as they are by default, which is in no graph yet.

    Args:
        model: The model, which gets the op's code where it lacks.
        kind: Of the op, as the schema names it.
        taken: The numbers of what it takes.
        made: The number of what it makes.
        version: Of the op, at least.
    """
    op, options = schema().OperatorT(), f"{kind.title().replace('_', '')}Options"
    op.opcodeIndex = code_of(model, kind, version)
    op.builtinOptionsType = getattr(schema().BuiltinOptions, options)
    op.builtinOptions = getattr(schema(), f"{options}T")()
    op.inputs, op.outputs = np.array(taken, np.int32), np.array([made], np.int32)
    return op


def numbers(listed: Iterable[Any] | None) -> list[int]:
    """Return a list of a file's numbers; one that is left out is empty."""
    return [] if listed is None else [int(number) for number in listed]


def ordered(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return a TFLite file whose inputs and outputs are in this order, for callers who go by position.

    TensorFlow Lite's converter keeps a signature's names and loses their order. The lists of tensor numbers are changed
    where they stand; nothing else of the file moves.

    Args:
        content: The file, with one graph and a signature.
        inputs: The signature's names of all inputs.
        outputs: The signature's names of all outputs.
    """
    changed = bytearray(content)
    model = schema().Model.GetRootAs(changed)
    graph, signature = model.Subgraphs(0), model.SignatureDefs(0)
    taken = _signature_numbers(signature.Inputs(i) for i in range(signature.InputsLength()))
    given = _signature_numbers(signature.Outputs(i) for i in range(signature.OutputsLength()))
    graph.InputsAsNumpy()[:] = [taken[name] for name in inputs]
    graph.OutputsAsNumpy()[:] = [given[name] for name in outputs]
    return bytes(changed)


def ends(content: bytes) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Return the shapes of the inputs and of the outputs by their names in the signature, in the graph's order.

    Args:
        content: A TFLite file, with one graph and a signature.
    """
    model = schema().Model.GetRootAs(content)
    graph, signature = model.Subgraphs(0), model.SignatureDefs(0)
    taken = _signature_numbers(signature.Inputs(i) for i in range(signature.InputsLength()))
    given = _signature_numbers(signature.Outputs(i) for i in range(signature.OutputsLength()))

    def shapes(numbers_of: dict[str, int], order: list[int]) -> dict[str, tuple[int, ...]]:
        tensors = {name: graph.Tensors(number) for name, number in numbers_of.items()}
        names = sorted(tensors, key=lambda name: order.index(numbers_of[name]))
        return {name: tuple(map(tensors[name].Shape, range(tensors[name].ShapeLength()))) for name in names}

    return shapes(taken, numbers(graph.InputsAsNumpy())), shapes(given, numbers(graph.OutputsAsNumpy()))


def _signature_numbers(tensors: Any) -> dict[str, int]:
    """Return the number of each tensor of a signature by its name there."""
    return {tensor.Name().decode(): tensor.TensorIndex() for tensor in tensors}


@cache
def _names(kind: str) -> dict[int, str]:
    """Return the names of one of the schema's enumerations by their numbers."""
    return {value: name for name, value in vars(getattr(schema(), kind)).items() if isinstance(value, int)}


class TFLiteGraph:
    """A file's first graph: ops and tensors by their numbers.

    Args:
        content: A TFLite file.
    """

    def __init__(self, content: bytes) -> None:
        self.model = unpack(content)
        codes = kinds(self.model)
        self._graph = self.model.subgraphs[0]
        self.tensors: list[Any] = self._graph.tensors
        self.kinds = [codes[op.opcodeIndex] for op in self._graph.operators]
        self.operands = [numbers(op.inputs) for op in self._graph.operators]
        self.results = [numbers(op.outputs) for op in self._graph.operators]
        self.makers = {tensor: op for op, made in enumerate(self.results) for tensor in made}
        self.readers: dict[int, list[int]] = defaultdict(list)
        for number, taken in enumerate(self.operands):
            for tensor in taken:
                self.readers[tensor].append(number)
        self.after = [sorted({op for one in made for op in self.readers[one]}) for made in self.results]
        self.before: list[list[int]] = [[] for _ in self.kinds]
        for number, followers in enumerate(self.after):
            for follower in followers:
                self.before[follower].append(number)

    def ops_of(self, kinds: Collection[str]) -> list[int]:
        """Return the ops of these kinds."""
        return [number for number, kind in enumerate(self.kinds) if kind in kinds]

    def code(self, number: int) -> Any:
        """Return an op's operator code: its kind and version, which it may share with others."""
        return self.model.operatorCodes[self._graph.operators[number].opcodeIndex]

    def computed(self) -> list[int]:
        """Return the tensors that the graph takes or makes: all but constants."""
        return [*self.inputs(), *(tensor for made in self.results for tensor in made)]

    def inputs(self) -> list[int]:
        """Return the tensors that the graph takes."""
        return numbers(self._graph.inputs)

    def outputs(self) -> list[int]:
        """Return the tensors that the graph gives."""
        return numbers(self._graph.outputs)

    def shape(self, tensor: int) -> list[int]:
        """Return a tensor's shape."""
        return numbers(self.tensors[tensor].shape)

    def options(self, number: int) -> Any:
        """Return an op's options, as the schema has them for its kind."""
        return self._graph.operators[number].builtinOptions

    def name(self, tensor: int) -> str:
        """Return a tensor's name."""
        name: str = (self.tensors[tensor].name or b"").decode()
        return name

    def constant_bytes(self, tensor: int) -> int:
        """Return how many bytes of a tensor's values stand in the file: 0 of one that is computed."""
        data = self.model.buffers[self.tensors[tensor].buffer].data
        return 0 if data is None else len(data)

    def is_float32(self, tensor: int) -> bool:
        """Return whether a tensor holds float32."""
        return type_of(self.tensors[tensor]) == "FLOAT32"

    def is_constant(self, tensor: int) -> bool:
        """Return whether a tensor's values stand in the file."""
        return self.constant_bytes(tensor) > 0

    def is_quantized(self, tensor: int) -> bool:
        """Return whether a tensor holds numbers by a scale."""
        quantization = self.tensors[tensor].quantization
        return quantization is not None and quantization.scale is not None and len(quantization.scale) > 0

    def set_range(self, tensor: int, low: float, high: float) -> None:
        """Write the range that int8 is to have into a tensor."""
        if self.tensors[tensor].quantization is None:
            self.tensors[tensor].quantization = schema().QuantizationParametersT()
        quantization = self.tensors[tensor].quantization
        quantization.min, quantization.max = np.array([low], np.float32), np.array([high], np.float32)

    def is_read_by_hard_swishes_alone(self, tensor: int) -> bool:
        """Return whether all that reads a tensor are Hard-Swishes, and something does."""
        is_output = tensor in map(int, self._graph.outputs)
        return not is_output and {self.kinds[op] for op in self.readers[tensor]} == {"HARD_SWISH"}

    def set_operand(self, op: int, place: int, tensor: int) -> None:
        """Let an op take another tensor in a place, the one behind its last or one before."""
        taken = self.operands[op]
        taken[place : place + 1] = [tensor]
        self._graph.operators[op].inputs = np.array(taken, np.int32)
        self.readers[tensor].append(op)

    def signature_inputs(self) -> dict[str, int]:
        """Return the tensor of each input by its name in the signature."""
        return {one.name.decode(): int(one.tensorIndex) for one in self.model.signatureDefs[0].inputs}

    def names(self) -> tuple[list[str], list[str]]:
        """Return the signature's names of the inputs and of the outputs, in the graph's order."""
        signature = self.model.signatureDefs[0]
        taken = {int(one.tensorIndex): one.name.decode() for one in signature.inputs}
        made = {int(one.tensorIndex): one.name.decode() for one in signature.outputs}
        return [taken[int(i)] for i in self._graph.inputs], [made[int(i)] for i in self._graph.outputs]

    def own_outputs(self) -> dict[int, int]:
        """Return the outputs that show no value inside: of each its place among all, and its tensor."""
        names = self.names()[1] if self.model.signatureDefs else [""] * len(self.outputs())
        pairs = zip(self.outputs(), names, strict=True)
        return {place: tensor for place, (tensor, name) in enumerate(pairs) if not name.startswith(TAP)}

    def content(self) -> bytes:
        """Return the file as it is now."""
        return pack(self.model)
