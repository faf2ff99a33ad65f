"""Opens and runs the files of one way: `python -m benchmarks.converters.measure PREPARED FOLDER REPLY`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.delegate import describe_delegate
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.errors import ToolError
from mobilekit.store.stages import PRECISIONS

Floats = NDArray[np.float32]


def measure(file: Path, prepared: Path) -> dict[str, Any]:
    """Return what a file is: its error on random inputs and on photos, its ops, and what XNNPACK takes of it."""
    try:
        runtime = LiteRTRuntime(file)
        found: dict[str, Any] = {}
        for name in ("random", "photos"):
            with np.load(prepared / f"{name}.npz") as data:
                made = next(iter(runtime.run({"input": data["inputs"]}).values()))
                found[name] = compared(made, data["expected"])
    except ToolError as error:
        return {"why_not": str(error)}
    delegate = describe_delegate(runtime.interpreter)
    ops = Counter(node["op_name"] for node in runtime.interpreter._get_ops_details() if node["op_name"] != "DELEGATE")
    return {
        **found,
        "partitions": delegate.partitions,
        "undelegated": dict(Counter(op.op for op in delegate.undelegated)),
        "ops": sum(ops.values()),
        "kinds": dict(ops.most_common()),
        "transposes": ops["TRANSPOSE"],
        "size_bytes": file.stat().st_size,
    }


def compared(made: Floats, expected: Floats) -> dict[str, Any]:
    """Return relative L2 and largest error, and of each input the cosine and whether the first class is the same."""
    rows, wanted = (array.reshape(len(array), -1).astype(np.float64) for array in (made, expected))
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted, axis=1)
    return {
        "l2": float(np.linalg.norm(rows - wanted) / np.linalg.norm(wanted)),
        "max_abs": float(np.abs(rows - wanted).max()),
        "cosines": ((rows * wanted).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)).tolist(),
        "same_class": (rows.argmax(axis=1) == wanted.argmax(axis=1)).tolist(),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    files = {precision: folder / f"model.{precision}.tflite" for precision in PRECISIONS}
    reply = {name: measure(path, Path(sys.argv[1])) for name, path in files.items() if path.exists()}
    Path(sys.argv[3]).write_text(json.dumps(reply))
