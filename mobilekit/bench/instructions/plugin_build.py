"""The plugin that counts: C of a folder of its own, compiled by the system's compiler, and kept by its hash."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mobilekit.store.files import sha256_of_all
from mobilekit.targets.debian import run_tool

_SOURCES = Path(__file__).parent / "plugin"
_COMPILERS = ("cc", "gcc", "clang")
_OPTIONS = ("-std=c11", "-O2", "-shared", "-fPIC", "-pthread")


def digest() -> str:
    """Return the SHA-256 of the plugin's sources."""
    return sha256_of_all(_SOURCES)


def path(root: Path) -> Path:
    """Return where in the emulated device's folder the plugin is, or would be."""
    return root / "opt" / "plugins" / f"{digest()}.so"


def find_compiler() -> str | None:
    """Return the path of a C compiler, None where there is none."""
    return next((found for name in _COMPILERS if (found := shutil.which(name, path=os.environ.get("PATH")))), None)


def build(root: Path, compiler: str) -> Path:
    """Compile the plugin into the emulated device's folder, and return its path.

    Raises:
        ToolError: The compiler failed.
    """
    target = path(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    hint = "A compiler with the C library's headers is needed, for example: apt install gcc libc6-dev"
    run_tool(
        [compiler, *_OPTIONS, "-o", str(target), str(_SOURCES / "count.c")],
        "The counting plugin cannot be compiled",
        None,
        hint,
    )
    return target
