"""Files of ExecuTorch's, run by its own runtime."""

from __future__ import annotations

from pathlib import Path

from mobilekit.artifacts.executorch.environment import start
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.process_runtime import ProcessRuntime
from mobilekit.store.worker import Worker

_WORKER = "mobilekit.artifacts.executorch.runtime_worker"


class ExecuTorchRuntime(ProcessRuntime):
    """A .pte file on the CPU. Its process lives as long as this object.

    Args:
        path: The file.
        worker: What answers instead, for tests.

    Raises:
        ToolError: The file is not whole, or of another version; or ExecuTorch is not there.
    """

    def __init__(self, path: Path, worker: Worker | None = None) -> None:
        found = read_pte(path)
        super().__init__(path, "ExecuTorch", found.inputs, found.outputs, worker or start(_WORKER))
