"""Which tensors of a TFLite graph an int8 file leaves in float."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# A region before a division ends at these: they are dense layers, or what int8 carries well.
_ENDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONCATENATION", "HARD_SWISH")


def tensors_to_keep(content: bytes, keep_float: Iterable[str]) -> set[str]:
    """Return the names of the tensors that stay in float.

    Args:
        content: A float32 TFLite file.
        keep_float: `quotients`: all that leads from the last dense op before a DIV to the DIV. An int8 denominator
            has 8 bits for all its values, and the small ones, which matter most, become 0. `hard-swish`: the results
            of HARD_SWISH, for which XNNPACK has no int8 kernel, so that each would end a partition.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}

    def kind(op: Any) -> str:
        code = model.operatorCodes[op.opcodeIndex]
        return str(kinds[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def results(op: Any) -> set[str]:
        return {graph.tensors[index].name.decode() for index in op.outputs}

    kept: set[str] = set()
    if "hard-swish" in keep_float:
        kept |= {name for op in graph.operators if kind(op) == "HARD_SWISH" for name in results(op)}
    if "quotients" in keep_float:
        maker = {int(index): op for op in graph.operators for index in op.outputs}
        seen: set[int] = set()
        waiting = [op for op in graph.operators if kind(op) == "DIV"]
        while waiting:
            op = waiting.pop()
            if id(op) in seen:
                continue
            seen.add(id(op))
            kept |= results(op)
            before = [maker[int(index)] for index in op.inputs if int(index) in maker]
            waiting += [one for one in before if kind(one) not in _ENDS]
    return kept
