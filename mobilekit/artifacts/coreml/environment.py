"""Whether coremltools is installed, and whether Core ML runs here."""

from __future__ import annotations

import sys

from mobilekit.errors import ToolError
from mobilekit.store.versions import installed_version
from mobilekit.store.worker import Worker, json_worker

PACKAGE = "coremltools"
_TO_GET_IT = "In mobilekit's folder: pip install '.[coreml]'."


def versions() -> dict[str, str]:
    """Return the version of coremltools.

    Raises:
        ToolError: It is not installed.
    """
    found = installed_version(PACKAGE)
    if found is None:
        raise ToolError("coremltools, which Core ML packages are made and read by, is not installed.", _TO_GET_IT)
    return {PACKAGE: found}


def why_not_run() -> str | None:
    """Return why packages are not run here, to follow a colon; None where they are."""
    if sys.platform != "darwin":
        return "Core ML runs on macOS alone"
    return None if installed_version(PACKAGE) else "coremltools is not installed"


def start(module: str) -> Worker:
    """Return a worker that is a module of ours with coremltools, which is slow to import and prints.

    Args:
        module: Serves when it is run as a program.

    Raises:
        ToolError: coremltools is not installed.
    """
    versions()
    return json_worker(module, environment={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"})
