"""Has Qualcomm's compiler take an ONNX file through ONNX Runtime, in a process of its own: it may end it.

A request has `path`, `soc` and `arch`: the numbers of the system on a chip and of its Hexagon. A reply has `groups`: of
each group of nodes that one provider runs, its `provider`, and `nodes`, each with op type and name. What Qualcomm's
compiler says of each node goes to the log.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from mobilekit.store.worker_loop import serve

PROVIDER = "QNNExecutionProvider"


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Compile a file."""
    session = _open(request)
    groups = [
        {"provider": group.ep_name, "nodes": [[node.op_type, node.name] for node in group.get_nodes()]}
        for group in session.get_provider_graph_assignment_info()
    ]
    return {"groups": groups}


def _open(request: dict[str, Any]) -> Any:
    """Return a session whose nodes Qualcomm's compiler was offered, in float16; ONNX Runtime's own take the rest."""
    import onnxruntime

    qnn = importlib.import_module("onnxruntime_qnn")
    onnxruntime.register_execution_provider_library(PROVIDER, qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 0
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    backend = Path(qnn.LIB_DIR_FULL_PATH) / "libQnnHtp.so"
    options.add_provider_for_devices(
        devices[:1],
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
