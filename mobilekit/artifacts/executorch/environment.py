"""The Python that has ExecuTorch: an environment of its own, as ExecuTorch asks for versions of torch of its own.

`mobilekit setup-executorch` makes one; `MOBILEKIT_EXECUTORCH` names another. Its runtime would not live in one process
with LiteRT's either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import platformdirs

from mobilekit.errors import ToolError
from mobilekit.store.versions import installed_version
from mobilekit.store.worker import Worker, elsewhere

COMMAND = "mobilekit setup-executorch"
VARIABLE = "MOBILEKIT_EXECUTORCH"
PACKAGE = "executorch"
_VERSIONS = (PACKAGE, "torch", "torchao")
"""Of packages that decide what a file holds."""
_ASKED = f"import json; from importlib.metadata import version; print(json.dumps([*map(version, {_VERSIONS!r})]))"
_SECONDS = 60
_VARIABLES = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
"""Of its processes: sums and sets in the same order in each make the same bytes."""


def folder() -> Path:
    """Return where the environment is that `mobilekit setup-executorch` makes, or would be."""
    return platformdirs.user_data_path("mobilekit") / PACKAGE


def python_in(root: Path) -> Path:
    """Return the Python of an environment."""
    return root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def python() -> str:
    """Return the Python that is to have ExecuTorch: the one that is named, the one that was set up, or this one."""
    if named := os.environ.get(VARIABLE):
        return named
    own = python_in(folder())
    return sys.executable if not own.exists() and installed_version(PACKAGE) else str(own)


def versions() -> dict[str, str]:
    """Return the versions of ExecuTorch and of what it is built on, `executorch/torch` and others.

    Raises:
        ToolError: It is not there.
    """
    named = os.environ.get(VARIABLE)
    found = _versions_in(python())
    if found is None:
        lacks = f"has no {PACKAGE}" if named and _is_python(named) else "is no Python"
        raise ToolError(
            f"{named}, which {VARIABLE} names, {lacks}." if named else "ExecuTorch is not set up.",
            f"`{COMMAND}` sets it up once, in 1.5 GB with its torch; or name in {VARIABLE} a Python that has it.",
        )
    return found


@cache
def _versions_in(program: str) -> dict[str, str] | None:
    """Return what a Python has of ExecuTorch's packages; None where some are missing."""
    try:
        done = subprocess.run(  # noqa: S603 - a Python that the user names, without a shell
            [program, "-I", "-c", _ASKED], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        executorch, *others = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return {PACKAGE: executorch} | {
        f"{PACKAGE}/{name}": version for name, version in zip(_VERSIONS[1:], others, strict=True)
    }


def _is_python(program: str) -> bool:
    """Return whether a program runs what Python does."""
    asked = [program, "-I", "-c", f"print({PACKAGE!r})"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return False
    return done.stdout.strip() == PACKAGE


def start(module: str, program: str | None = None) -> Worker:
    """Return a worker that is a module of ours, run by the Python that has ExecuTorch.

    Args:
        module: Serves when it is run as a program.
        program: Another Python, which is tried.

    Raises:
        ToolError: ExecuTorch is not there.
    """
    if program is None:
        versions()
    return elsewhere(program or python(), module, environment=_VARIABLES)
