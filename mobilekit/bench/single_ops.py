"""Times each op of a TFLite file alone, in a file of its own: a profile where no profiler is at hand.

Each op gets the delegate that it would get (XNNPACK takes it or not), but its data are warm in the cache: the times
tell where the work is; their sum is not the latency. What a delegate does as part of another op goes with that op: the
padding before a convolution, which XNNPACK takes into it, and the unpacking of float16 weights.

Runs as `python -m mobilekit.bench.single_ops REQUEST`, as LiteRT may crash on a file.
"""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
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
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    times = []
    for index, op in enumerate(model.subgraphs[0].operators):
        users = [user for user in model.subgraphs[0].operators if int(op.outputs[0]) in user.inputs]
        is_part = bool(users) and all(_part_of(model, user, int(op.outputs[0])) for user in users)
        times.append({"index": index, "ms": 0.0 if is_part else _time(single_op(model, index), threads)})
    return times


def single_op(model: Any, index: int) -> bytes:
    """Return a TFLite file of one op: what it takes from other ops becomes the file's input.

    Args:
        model: A `ModelT` of the TFLite schema.
        index: Place of the op in the first subgraph.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = model.subgraphs[0]
    part = schema.SubGraphT()
    part.tensors, part.inputs, part.operators = [], [], []
    buffers, codes = [schema.BufferT()], []
    places: dict[int, int] = {}

    def place(number: int, made: bool) -> int:
        """Return the place of a tensor in the new file, and put it there first if it is not."""
        if number < 0 or number in places:
            return places.get(number, -1)
        companion = None if made else _part_of(model, whole.operators[index], number)
        if companion is not None:
            add(companion)
            return places[number]
        tensor = copy.copy(whole.tensors[number])
        data = model.buffers[tensor.buffer].data
        tensor.buffer = 0
        places[number] = len(part.tensors)
        if data is not None and len(data):
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


def _part_of(model: Any, user: Any, number: int) -> Any:
    """Return the op that makes a tensor if the delegate does its work as part of the op that uses the tensor."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator as Builtin

    whole = model.subgraphs[0]
    maker = next((op for op in whole.operators if number in op.outputs), None)
    if maker is None:
        return None
    code, user_code = (model.operatorCodes[op.opcodeIndex].builtinCode for op in (maker, user))
    if code == Builtin.DEQUANTIZE:
        data = model.buffers[whole.tensors[int(maker.inputs[0])].buffer].data
        return maker if data is not None and len(data) else None
    users = sum(number in op.inputs for op in whole.operators)
    if code == Builtin.PAD and user_code in (Builtin.CONV_2D, Builtin.DEPTHWISE_CONV_2D) and users == 1:
        return maker
    return None


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


if __name__ == "__main__":
    main()
