"""Versions of everything that shapes an artifact."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path

# What measures and shows bundles, and shapes none.
_ASIDE = (
    "api",
    "bench",
    "bisection",
    "candidate",
    "cli",
    "contents",
    "devices",
    "doctor",
    "layers",
    "on_device",
    "quantize_search",
    "ranges",
    "rebuilder",
    "report",
    "reproduction",
    "tune",
)
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
    """Return the SHA-256 of those of mobilekit's own sources that shape a bundle, or of the subfolders `parts`."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        first = name.parts[0].removesuffix(".py")
        if first in parts or (not parts and first not in _ASIDE):
            digest.update(str(name).encode() + path.read_bytes())
    return digest.hexdigest()
