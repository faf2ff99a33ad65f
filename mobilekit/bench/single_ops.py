"""Times each op of a TFLite file alone, in a file of its own: a profile where no profiler is at hand.

Each op gets the delegate that it would get (XNNPACK takes it or not), but its data are warm in the cache: the times
tell where the work is; their sum is not the latency. What a delegate does as part of another op goes with that op: the
padding before a convolution, which XNNPACK takes into it, and the unpacking of float16 weights.

Runs in a process of its own, as LiteRT may crash on a file; see `litert_engine.worker`.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TRIES = 15
_SECONDS = 0.5  # for one op at most


def main() -> None:
    """Carry out the request: `file` and `threads`; print a JSON list of `index` and `ms`, null where it failed."""
    request = json.loads(sys.argv[1])
    print(json.dumps(time_ops(Path(request["file"]), request["threads"])))  # noqa: T201


def time_ops(path: Path, threads: int) -> list[dict[str, Any]]:
    """Return the median time of each op in ms, None where it cannot run alone."""
    whole = Whole.read(path)
    times = []
    for index, op in enumerate(whole.operators):
        made = int(op.outputs[0])
        users = whole.users.get(made, [])
        is_part = bool(users) and all(_part_of(whole, user, made) for user in users)
        times.append({"index": index, "ms": 0.0 if is_part else _time(single_op(whole, index), threads)})
    return times


@dataclass(frozen=True)
class Whole:
    """A TFLite model, and which ops of its first subgraph make and use each tensor."""

    model: Any
    """A `ModelT` of the TFLite schema."""
    makers: dict[int, Any]
    users: dict[int, list[Any]]

    @classmethod
    def read(cls, path: Path) -> Whole:
        """Read a file."""
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        makers: dict[int, Any] = {}
        users: dict[int, list[Any]] = defaultdict(list)
        for op in model.subgraphs[0].operators:
            makers.update(dict.fromkeys(map(int, op.outputs), op))
            for number in map(int, op.inputs):
                users[number].append(op)
        return cls(model, makers, dict(users))

    @property
    def operators(self) -> list[Any]:
        """All ops, in order."""
        operators: list[Any] = self.model.subgraphs[0].operators
        return operators

    def code(self, op: Any) -> int:
        """Return an op's code in the schema; old files have it in another field."""
        code = self.model.operatorCodes[op.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def data(self, number: int) -> Any:
        """Return the bytes of a constant tensor, None for another."""
        data = self.model.buffers[self.model.subgraphs[0].tensors[number].buffer].data
        return data if data is not None and len(data) else None


def single_op(whole: Whole, index: int) -> bytes:
    """Return a TFLite file of one op: what it takes from other ops becomes the file's input.

    Args:
        whole: The model.
        index: Place of the op in the first subgraph.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = whole.model
    part = schema.SubGraphT()
    part.tensors, part.inputs, part.operators = [], [], []
    buffers, codes = [schema.BufferT()], []
    places: dict[int, int] = {}

    def place(number: int, made: bool) -> int:
        """Return the place of a tensor in the new file, and put it there first if it is not."""
        if number < 0 or number in places:
            return places.get(number, -1)
        companion = None if made else _part_of(whole, whole.operators[index], number)
        if companion is not None:
            add(companion)
            return places[number]
        tensor = copy.copy(model.subgraphs[0].tensors[number])
        data = whole.data(number)
        tensor.buffer = 0
        places[number] = len(part.tensors)
        if data is not None:
            tensor.buffer = len(buffers)
            buffers.append(schema.BufferT())
            buffers[-1].data = data
        elif not made:
            part.inputs.append(len(part.tensors))
        part.tensors.append(tensor)
        return places[number]

    def add(operator: Any) -> list[int]:
        """Put an op into the new file; return the places of its outputs."""
        operator = copy.copy(operator)
        operator.inputs = [place(int(number), made=False) for number in operator.inputs]
        operator.outputs = [place(int(number), made=True) for number in operator.outputs]
        codes.append(copy.copy(model.operatorCodes[operator.opcodeIndex]))
        operator.opcodeIndex = len(codes) - 1
        part.operators.append(operator)
        return list(operator.outputs)

    part.outputs = add(whole.operators[index])
    single = schema.ModelT()
    single.version = 3
    single.operatorCodes = codes
    single.buffers = buffers
    single.subgraphs = [part]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(single.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _part_of(whole: Whole, user: Any, number: int) -> Any:
    """Return the op that makes a tensor if the delegate does its work as part of the op that uses the tensor."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator as Builtin

    maker = whole.makers.get(number)
    if maker is None:
        return None
    if whole.code(maker) == Builtin.DEQUANTIZE:
        return maker if whole.data(int(maker.inputs[0])) is not None else None
    takes_padding = whole.code(user) in (Builtin.CONV_2D, Builtin.DEPTHWISE_CONV_2D)
    return maker if whole.code(maker) == Builtin.PAD and takes_padding and len(whole.users[number]) == 1 else None


def _time(content: bytes, threads: int) -> float | None:
    from ai_edge_litert.interpreter import Interpreter

    from mobilekit.bench.litert_worker import fill_inputs

    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        fill_inputs(interpreter)
        interpreter.invoke()
    except (RuntimeError, ValueError):
        return None
    end = time.perf_counter() + _SECONDS
    times: list[float] = []
    while len(times) < _TRIES and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)
