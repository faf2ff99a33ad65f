"""Environments of the peers' own, made once under mobilekit's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import processes, venvs
from mobilekit.store.cache import default_folder

ROOT = Path(__file__).parents[2]
FOLDER = default_folder() / "peers"
OWN = "mobilekit"
"""The environment that this script runs in."""
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "litert-torch": ("torch==2.13.0", "litert-torch==0.10.0", "ai-edge-quantizer==0.10.0", "safetensors>=0.4"),
    "executorch": ("torch==2.13.0", "executorch==1.5.1", "safetensors>=0.4"),
    "onnxruntime": ("onnxruntime==1.32.0", "onnx>=1.19", "sympy>=1.13"),
}


def python(environment: str) -> Path:
    """Return the interpreter of an environment."""
    return Path(sys.executable) if environment == OWN else venvs.python_of(FOLDER / environment)


def set_up(environment: str) -> None:
    """Make an environment, unless it is there with the same requirements."""
    venvs.make(FOLDER / environment, REQUIREMENTS[environment])


def versions(environment: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are in an environment."""
    return processes.versions(python(environment), packages)


def variables() -> dict[str, str]:
    """Return the environment variables of every process: one thread, this checkout, and the tools of our `bin`."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def variables_into_own_process() -> None:
    """Give this process, and all that it starts, the variables of every process."""
    os.environ.update(variables())
