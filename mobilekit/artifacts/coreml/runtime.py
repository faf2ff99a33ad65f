"""Core ML packages, run by Core ML itself, which is on macOS alone."""

from __future__ import annotations

from pathlib import Path

from mobilekit.artifacts.coreml.environment import start, why_not_run
from mobilekit.artifacts.coreml.package import read_package
from mobilekit.artifacts.process_runtime import ProcessRuntime
from mobilekit.errors import ToolError
from mobilekit.store.worker import Worker

_WORKER = "mobilekit.artifacts.coreml.runtime_worker"


class CoreMLRuntime(ProcessRuntime):
    """An .mlpackage on whichever of its processors Core ML chooses. Its process lives as long as this object.

    Args:
        path: The package.
        worker: What answers instead, for tests.

    Raises:
        ToolError: The package is not whole, or Core ML is not here.
    """

    def __init__(self, path: Path, worker: Worker | None = None) -> None:
        if worker is None and (reason := why_not_run()):
            raise ToolError(f"{path.name} is not run here: {reason}.", "Open it on a Mac.")
        found = read_package(path)
        super().__init__(path, "Core ML", found.inputs, found.outputs, worker or start(_WORKER))
