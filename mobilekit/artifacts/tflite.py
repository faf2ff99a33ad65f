"""A TFLite file's first graph, to be looked at and changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np


def unpack(content: bytes) -> Any:
    """Return a TFLite file as objects that can be changed (`ModelT` of the schema)."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))


def pack(model: Any) -> bytes:
    """Return the TFLite file of such objects."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class TFLiteGraph:
    """Ops and tensors by their numbers.

    Args:
        content: A TFLite file.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._model = unpack(content)
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in self._model.operatorCodes]
        self._float32, self._new_quantization = schema.TensorType.FLOAT32, schema.QuantizationParametersT
        self._graph = self._model.subgraphs[0]
        self.tensors: list[Any] = self._graph.tensors
        self.kinds = [codes[op.opcodeIndex] for op in self._graph.operators]
        self.operands = [[int(tensor) for tensor in op.inputs] for op in self._graph.operators]
        self.results = [[int(tensor) for tensor in op.outputs] for op in self._graph.operators]
        self._readers: dict[int, list[int]] = defaultdict(list)
        for number, taken in enumerate(self.operands):
            for tensor in taken:
                self._readers[tensor].append(number)
        self.after = [sorted({op for one in made for op in self._readers[one]}) for made in self.results]
        self.before: list[list[int]] = [[] for _ in self.kinds]
        for number, followers in enumerate(self.after):
            for follower in followers:
                self.before[follower].append(number)

    def ops_of(self, kinds: Collection[str]) -> list[int]:
        """Return the ops of these kinds."""
        return [number for number, kind in enumerate(self.kinds) if kind in kinds]

    def computed(self) -> list[int]:
        """Return the tensors that the graph takes or makes: all but constants."""
        return [*map(int, self._graph.inputs), *(tensor for made in self.results for tensor in made)]

    def name(self, tensor: int) -> str:
        """Return a tensor's name."""
        name: str = self.tensors[tensor].name.decode()
        return name

    def is_float32(self, tensor: int) -> bool:
        """Return whether a tensor holds float32."""
        return bool(self.tensors[tensor].type == self._float32)

    def is_quantised(self, tensor: int) -> bool:
        """Return whether a tensor holds numbers by a scale."""
        quantization = self.tensors[tensor].quantization
        return quantization is not None and quantization.scale is not None and len(quantization.scale) > 0

    def set_range(self, tensor: int, low: float, high: float) -> None:
        """Write the range that int8 is to have into a tensor."""
        if self.tensors[tensor].quantization is None:
            self.tensors[tensor].quantization = self._new_quantization()
        quantization = self.tensors[tensor].quantization
        quantization.min, quantization.max = np.array([low], np.float32), np.array([high], np.float32)

    def is_read_by_hard_swishes_alone(self, tensor: int) -> bool:
        """Return whether all that reads a tensor are Hard-Swishes, and something does."""
        is_output = tensor in map(int, self._graph.outputs)
        return not is_output and {self.kinds[op] for op in self._readers[tensor]} == {"HARD_SWISH"}

    def signature_inputs(self) -> dict[str, int]:
        """Return the tensor of each input by its name in the signature."""
        return {one.name.decode(): int(one.tensorIndex) for one in self._model.signatureDefs[0].inputs}

    def names(self) -> tuple[list[str], list[str]]:
        """Return the signature's names of the inputs and of the outputs, in the graph's order."""
        signature = self._model.signatureDefs[0]
        taken = {int(one.tensorIndex): one.name.decode() for one in signature.inputs}
        made = {int(one.tensorIndex): one.name.decode() for one in signature.outputs}
        return [taken[int(i)] for i in self._graph.inputs], [made[int(i)] for i in self._graph.outputs]

    def content(self) -> bytes:
        """Return the file as it is now."""
        return pack(self._model)
