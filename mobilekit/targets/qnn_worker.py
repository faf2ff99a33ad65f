"""Has Qualcomm's compiler take an ONNX file through ONNX Runtime, in a process of its own: it may end it.

A request has `do`, `path` of an .onnx file, `soc` and `arch`: the numbers of the system on a chip and of its Hexagon.
`compile` replies with `groups`: of each group of nodes that one provider runs, its `provider`, and `nodes`, each with
op type and name; what Qualcomm's compiler says of each node goes to the log.
`run` has `inputs` and `outputs` besides, paths of .npz files with arrays by name.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mobilekit.artifacts.runtime import as_output, batches
from mobilekit.store.files import save_arrays
from mobilekit.store.worker_loop import serve

PROVIDER = "QNNExecutionProvider"


_opened: dict[tuple[Any, ...], Any] = {}  # the last session, as one is asked for time and again


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request."""
    key = (request["path"], request["soc"])
    if key not in _opened:
        _opened.clear()
        _opened[key] = _open(request)
    session = _opened[key]
    if request["do"] == "run":
        _run(session, request)
        return {}
    groups = [
        {"provider": group.ep_name, "nodes": [[node.op_type, node.name] for node in group.get_nodes()]}
        for group in session.get_provider_graph_assignment_info()
    ]
    return {"groups": groups}


def _run(session: Any, request: dict[str, Any]) -> None:
    """Run the file on inputs (N, ...), as many at a time as it takes."""
    with np.load(request["inputs"]) as inputs:
        given = {info.name: inputs[info.name] for info in session.get_inputs()}
    taken = session.get_inputs()[0].shape[0]
    size = taken if isinstance(taken, int) else 1
    names = [info.name for info in session.get_outputs()]
    rows = [
        session.run(names, dict(zip(given, parts, strict=True)))
        for parts in zip(*(batches(array, size) for array in given.values()), strict=True)
    ]
    count = len(next(iter(given.values())))
    save_arrays(
        Path(request["outputs"]),
        {
            name: np.concatenate([as_output(row, size) for row in column])[:count]
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        },
    )


@cache
def _device(qnn: Any) -> Any:
    """Return Qualcomm's device in ONNX Runtime, which takes its library once in a process."""
    import onnxruntime

    onnxruntime.register_execution_provider_library(PROVIDER, qnn.get_library_path())
    return next(device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER)


def _open(request: dict[str, Any]) -> Any:
    """Return a session whose nodes Qualcomm's compiler was offered, in float16; ONNX Runtime's own take the rest."""
    import onnxruntime

    qnn = importlib.import_module("onnxruntime_qnn")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 0
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    backend = Path(qnn.LIB_DIR_FULL_PATH) / "libQnnHtp.so"
    options.add_provider_for_devices(
        [_device(qnn)],
        {
            "backend_path": str(backend),
            "enable_htp_fp16_precision": "1",
            "soc_model": str(request["soc"]),
            "htp_arch": str(request["arch"]),
        },
    )
    return onnxruntime.InferenceSession(request["path"], options)


if __name__ == "__main__":
    serve(answer)
