"""Runs TFLite files inside the emulated ARM Python.

A request has `path` of the file, `layouts` of its outputs, `inputs` and `outputs`, paths of .npz files with arrays by
name. A reply has `delegates`, the number of XNNPACK's partitions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.store.files import save_arrays
from mobilekit.store.worker_loop import serve

_open: dict[str, LiteRTRuntime] = {}  # the last file, as one is asked for time and again


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a file on all inputs."""
    path = request["path"]
    if path not in _open:
        _open.clear()
        _open[path] = LiteRTRuntime(Path(path), request["layouts"])
    runtime = _open[path]
    with np.load(request["inputs"]) as inputs:
        save_arrays(Path(request["outputs"]), runtime.run(dict(inputs)))
    return {"delegates": runtime.partitions()}


if __name__ == "__main__":
    serve(run)
