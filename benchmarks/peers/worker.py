"""A peer's process: it converts, runs or times, as the JSON request in its argument says, and replies in JSON.

`{"convert": {...}}` calls the peer's `convert`; `{"run": {"file", "inputs", "outputs"}}` runs a file on an .npy of
inputs (N, C, H, W) and writes one of outputs; `{"time": {"file", "size", "runs", ...}}` times a file as
mobilekit.bench.litert_worker does.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bind = Callable[[Floats], Callable[[], Any]]
"""Takes one input (1, C, H, W), and returns a function that runs the model on it and returns its output."""
Open = Callable[[str], Bind]
"""Opens a file, to be run by one thread."""


def serve(convert: Callable[..., Any] | None, open_file: Open | None) -> None:
    """Carry out the request."""
    [(action, request)] = json.loads(sys.argv[1]).items()
    reply: Any = None
    if action == "convert" and convert:
        reply = convert(**request)
    elif action == "run" and open_file:
        bind = open_file(request["file"])
        inputs = np.load(request["inputs"])
        np.save(request["outputs"], np.concatenate([np.asarray(bind(inputs[i : i + 1])()) for i in range(len(inputs))]))
    elif action == "time" and open_file:
        reply = measure(open_file, **request)
    else:
        raise SystemExit(f"this peer does not {action}")
    print(json.dumps(reply))


def measure(open_file: Open, file: str, size: int, runs: int, warmup_runs: int, max_seconds: float) -> dict[str, Any]:
    """Open a file, run it, and time each inference; the time limit holds for warm-up and the rest each."""
    before = _resident_mb()
    start = time.perf_counter()
    bind = open_file(file)
    init_ms = 1e3 * (time.perf_counter() - start)
    call = bind(np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32))
    warmup_ms = _repeat(call, warmup_runs, max_seconds)
    raw_ms = _repeat(call, runs, max_seconds)
    memory_mb = _resident_mb() - before
    return {"init_ms": init_ms, "warmup_ms": warmup_ms, "raw_ms": raw_ms, "memory_mb": memory_mb}


def _repeat(call: Callable[[], Any], runs: int, max_seconds: float) -> list[float]:
    end = time.perf_counter() + max_seconds
    times: list[float] = []
    while len(times) < runs and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
