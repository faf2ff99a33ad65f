"""Runs .pte files; it is run by the Python that has ExecuTorch.

Its requests are those of `ProcessRuntime`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.runtime import Runtime, Verification

from mobilekit.store.files import save_arrays
from mobilekit.store.worker_loop import serve

METHOD = "forward"
_open: dict[str, tuple[Any, ...]] = {}  # the last file; a method reads its program's memory, and does not keep it


def method_of(path: str) -> Any:
    """Return the method of a file."""
    if path not in _open:
        _open.clear()
        content = Path(path).read_bytes()
        program = Runtime.get().load_program(content, verification=Verification.InternalConsistency)
        _open[path] = (program.load_method(METHOD), program, content)
    return _open[path][0]


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a file on all inputs."""
    method, size = method_of(request["path"]), request["batch"]
    with np.load(request["inputs"]) as inputs:
        arrays = [inputs[name] for name in request["names"]]
    rows: list[list[Any]] = []
    for start in range(0, len(arrays[0]), size):
        given = [torch.from_numpy(np.ascontiguousarray(array[start : start + size])) for array in arrays]
        rows.append([value.numpy().copy() for value in method.execute(given)])
    outputs = {str(number): np.stack(column) for number, column in enumerate(zip(*rows, strict=True))}
    save_arrays(Path(request["outputs"]), outputs)
    return {}


if __name__ == "__main__":
    serve(run)
