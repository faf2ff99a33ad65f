"""The process in which LiteRT runs one file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.store.worker_loop import serve


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Open a file, run it until the request is met, and time each inference.

    Args:
        request: `file`, `threads`, `runs`, `warmup_runs`, `max_seconds`; the limit holds for warm-up and the rest each.

    Returns:
        `version` of LiteRT, `init_ms`, `warmup_ms` and `raw_ms` (one for each inference), `memory_mb` (growth of the
        process), `partitions`, `delegated` and `total` (of XNNPACK).
    """
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    from mobilekit.artifacts.delegate import describe_delegate

    before = resident_mb()
    start = time.perf_counter()
    interpreter = Interpreter(request["file"], num_threads=request["threads"])
    interpreter.allocate_tensors()
    init_ms = 1e3 * (time.perf_counter() - start)
    fill_inputs(interpreter)
    warmup_ms = repeat(interpreter.invoke, request["warmup_runs"], request["max_seconds"])
    raw_ms = repeat(interpreter.invoke, request["runs"], request["max_seconds"])
    delegate = describe_delegate(interpreter)
    return {
        "version": ai_edge_litert.__version__,
        "init_ms": init_ms,
        "warmup_ms": warmup_ms,
        "raw_ms": raw_ms,
        "memory_mb": resident_mb() - before,
        "partitions": delegate.partitions,
        "delegated": delegate.delegated,
        "total": delegate.total,
    }


def fill_inputs(interpreter: Any) -> None:
    """Give every input seeded random values.

    Floats are standard normal; integers of 8 and 16 bits, which stand for them, have their whole range; wider ones are
    most likely indices, and are below 100, as in benchmark_model.
    """
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], random_values(detail["shape"], detail["dtype"], generator))


def repeat(invoke: Callable[[], object], runs: int, max_seconds: float) -> list[float]:
    """Run a model `runs` times, or until the time is up; return the ms of each."""
    end = time.perf_counter() + max_seconds
    times: list[float] = []
    while len(times) < runs and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        invoke()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def random_values(shape: NDArray[Any], dtype: Any, generator: np.random.Generator) -> NDArray[Any]:
    """Return random values for an input of this shape and number format; see `fill_inputs`."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if limits.bits <= 16 else (0, 99)
        return generator.integers(low, high, shape, dtype=dtype, endpoint=True)
    return generator.standard_normal(shape).astype(dtype)


def resident_mb() -> float:
    """Return the process's resident memory; its peak where the system tells no more."""
    status = Path("/proc/self/statm")
    if status.exists():
        import resource

        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    serve(measure)
