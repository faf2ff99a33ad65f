"""ExecuTorch's XNNPACK, on a .pte file or a PyTorch program: how many delegates there are, and what is left outside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
    XnnpackPartitioner,
)
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from benchmarks.peers.worker import Bind, serve
from mobilekit.artifacts.executorch.pte import read_pte

_DELEGATE = "executorch_call_delegate"
_NO_WORK = ("getitem", "alloc", "full.out")
"""Steps that take a delegate's results apart, memory, and constants."""


def open_file(file: str) -> Bind:
    """Open a .pte file, or lower a .pt2 file; tell what is in it, and return what runs it."""
    path = Path(file)
    if path.suffix == ".pte":
        found, content = read_pte(path), path.read_bytes()
        delegates, steps = len(found.parts), Counter(found.outside)
    else:
        content, delegates, steps = _lower(path)
    outside = sum(count for name, count in steps.items() if name not in _NO_WORK)
    print(f"delegates: {delegates}, outside: {outside}")
    loaded = Runtime.get().load_program(content)
    method = loaded.load_method("forward")
    kept = (content, loaded)  # the method reads their memory, and does not keep them

    def run(image: np.ndarray) -> np.ndarray:
        assert kept
        return np.array(method.execute([torch.from_numpy(image)])[0])

    return lambda image: lambda: run(image)


def _lower(path: Path) -> tuple[bytes, int, Counter[str]]:
    """Lower a program; return the file, how many delegates it has, and the steps beside them."""
    lowered = to_edge_transform_and_lower(torch.export.load(path), partitioner=[XnnpackPartitioner()])
    program = lowered.to_executorch()
    steps = Counter(
        node.target.__name__ for node in lowered.exported_program().graph.nodes if node.op == "call_function"
    )
    return program.buffer, steps.pop(_DELEGATE, 0), steps


if __name__ == "__main__":
    serve(None, open_file)
