"""Versions of everything that shapes an artifact."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path

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


def tool_versions() -> dict[str, str]:
    """Return the versions of mobilekit, of the tools that it drives, of Python, and the processor's architecture."""
    from mobilekit import __version__

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "mobilekit": __version__,
        **found,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def source_digest(*parts: str) -> str:
    """Return the SHA-256 of mobilekit's own sources, or of the subfolders `parts` of them."""
    root = Path(__file__).parent
    folders = [root / part for part in parts] or [root]
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()
