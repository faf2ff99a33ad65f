"""The process in which ExecuTorch runs one file; it is run by the Python that has ExecuTorch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from executorch.extension.pybindings.portable_lib import (
    _unsafe_reset_threadpool,
)

from mobilekit.artifacts.executorch.runtime_worker import method_of
from mobilekit.bench.litert_worker import random_values, repeat, resident_mb
from mobilekit.store.worker_loop import serve


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Open a file, run it until the request is met, and time each inference.

    Args:
        request: `file`, `inputs` (shape and NumPy's name of the number format of each), `threads`, `runs`,
            `warmup_runs`, `max_seconds`; the limit holds for warm-up and the rest each.

    Returns:
        `init_ms`, `warmup_ms` and `raw_ms` (one for each inference), `memory_mb` (growth of the process).
    """
    _unsafe_reset_threadpool(request["threads"])
    generator = np.random.default_rng(0)
    inputs = [
        torch.from_numpy(random_values(np.array(shape), np.dtype(kind), generator)) for shape, kind in request["inputs"]
    ]
    before = resident_mb()
    start = time.perf_counter()
    method = method_of(request["file"])
    init_ms = 1e3 * (time.perf_counter() - start)
    warmup_ms = repeat(lambda: method.execute(inputs), request["warmup_runs"], request["max_seconds"])
    raw_ms = repeat(lambda: method.execute(inputs), request["runs"], request["max_seconds"])
    return {"init_ms": init_ms, "warmup_ms": warmup_ms, "raw_ms": raw_ms, "memory_mb": resident_mb() - before}


if __name__ == "__main__":
    serve(measure)
