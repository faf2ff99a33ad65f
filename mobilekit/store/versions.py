"""Versions of everything that shapes an artifact."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

# Where the code lies that decides what a bundle holds, and what a file of it holds.
BUNDLE_ROOMS = (
    "store",
    "recipes",
    "models",
    "rewrites",
    "artifacts",
    "convert",
    "parity/ledger",
    "parity/ranges",
    "jobs/artifacts.py",
    "jobs/export.py",
    "jobs/measure.py",
    "jobs/source.py",
)
FILE_ROOMS = ("convert", "artifacts", "recipes", "rewrites/fx")
_PACKAGES = (
    "torch",
    "onnx",
    "onnxsim",
    "onnxruntime",
    "onnx2tf",
    "tensorflow",
    "ai-edge-litert",
    "numpy",
    "pillow",
    "scikit-image",
    "scikit-learn",
)


# A package that another one may stand for.
_ALSO_AS = {"tensorflow": "tensorflow-cpu"}


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, under whichever name it is installed; None where it is not."""
    for name in filter(None, (package, _ALSO_AS.get(package))):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def tool_versions() -> dict[str, str]:
    """Return the versions of mobilekit, of the tools that it drives, of Python, and the processor's architecture."""
    from mobilekit import __version__

    found = {name: installed_version(name) or "not installed" for name in _PACKAGES}
    return {
        "mobilekit": __version__,
        **found,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def source_digest(rooms: Iterable[str]) -> str:
    """Return the SHA-256 of mobilekit's own sources in these rooms: folders and files by their paths in the package."""
    root = Path(__file__).parents[1]
    files = {
        path for room in rooms for path in ([root / room] if room.endswith(".py") else (root / room).rglob("*.py"))
    }
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
