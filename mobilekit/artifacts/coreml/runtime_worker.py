"""Runs Core ML packages, on macOS.

Its requests are those of `ProcessRuntime`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobilekit.artifacts.coreml.tools import imported
from mobilekit.store.files import save_arrays
from mobilekit.store.worker_loop import named, serve

_open: dict[str, Any] = {}  # the last package


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a package on all inputs, on whichever of its processors Core ML chooses, as in an app."""
    path, size = request["path"], request["batch"]
    with named("Core ML"), np.load(request["inputs"]) as inputs:
        if path not in _open:
            _open.clear()
            _open[path] = imported().models.MLModel(path)
        model, arrays = _open[path], {name: inputs[name] for name in request["names"]}
        names = [each.name for each in model.get_spec().description.output]
        rows: list[list[Any]] = []
        for start in range(0, len(next(iter(arrays.values()))), size):
            made = model.predict({name: array[start : start + size] for name, array in arrays.items()})
            rows.append([np.asarray(made[name]) for name in names])
    outputs = {str(number): np.stack(column) for number, column in enumerate(zip(*rows, strict=True))}
    save_arrays(Path(request["outputs"]), outputs)
    return {}


if __name__ == "__main__":
    serve(run)
