"""Times each op of a TFLite file alone, in a file of its own: a profile where no profiler is at hand.

Each op gets the delegate that it would get (XNNPACK takes it or not), but its data are warm in the cache: the times
tell where the work is; their sum is not the latency. What a delegate does as part of another op goes with that op: the
padding before a convolution, which XNNPACK takes into it, and the unpacking of float16 weights.

Runs in a process of its own, as LiteRT may crash on a file; see `litert_engine.run_worker`.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from mobilekit.artifacts.analysis.cut_tflite import cut_tflite
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.store.worker_loop import serve

_TRIES = 15
_SECONDS = 0.5  # for one op at most


def run(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Time the ops of the request's `file` with its `threads`: a list of `index` and `ms`, null where it failed."""
    return time_ops(Path(request["file"]), request["threads"])


def time_ops(path: Path, threads: int) -> list[dict[str, Any]]:
    """Return the median time of each op in ms, None where it cannot run alone."""
    graph = TFLiteGraph(path.read_bytes())
    return [
        {"index": op, "ms": 0.0 if _is_part(graph, op) else _time(single_op(graph, op), threads)}
        for op in range(len(graph.kinds))
    ]


def single_op(graph: TFLiteGraph, op: int) -> bytes:
    """Return a TFLite file of one op: what it takes from other ops becomes the file's input.

    Args:
        graph: The file's first graph.
        op: The op's number in it.
    """
    parts = [part for tensor in graph.operands[op] if (part := _part_of(graph, op, tensor)) is not None]
    inside = {tensor for one in (*parts, op) for tensor in graph.results[one]}
    taken = dict.fromkeys(tensor for one in (*parts, op) for tensor in graph.operands[one] if tensor >= 0)
    inputs = [tensor for tensor in taken if tensor not in inside and not graph.is_constant(tensor)]
    return cut_tflite(graph.model, [*parts, op], inputs, graph.results[op])


def _is_part(graph: TFLiteGraph, op: int) -> bool:
    """Return whether the delegate does an op's work as part of all that use it."""
    made = graph.results[op][0]
    users = graph.readers[made]
    return bool(users) and all(_part_of(graph, user, made) is not None for user in users)


def _part_of(graph: TFLiteGraph, user: int, tensor: int) -> int | None:
    """Return the op that makes a tensor if the delegate does its work as part of the op that uses the tensor."""
    maker = graph.makers.get(tensor)
    if maker is None:
        return None
    if graph.kinds[maker] == "DEQUANTIZE":
        return maker if graph.is_constant(graph.operands[maker][0]) else None
    takes_padding = graph.kinds[user] in ("CONV_2D", "DEPTHWISE_CONV_2D")
    return maker if graph.kinds[maker] == "PAD" and takes_padding and len(graph.readers[tensor]) == 1 else None


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
    serve(run)
