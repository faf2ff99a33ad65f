"""Versions of everything that shapes an artifact."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

# Where the code lies that decides what a bundle holds: all that an export can reach, and nothing else; a test holds it
# to that. What no export needs lies elsewhere, such as in models/analysis. Two things that every module reaches count
# for nothing: errors.py, as no error leaves a file behind, and the package's own __init__, which only lists the API.
BUNDLE_ROOMS = (
    "store/**/*.py",
    "recipes/**/*.py",
    "models/*.py",
    "models/families/*.py",
    "models/checkpoints/*",
    "rewrites/**/*.py",
    "artifacts/*.py",
    "artifacts/executorch/*.py",
    "artifacts/coreml/*.py",
    "artifacts/analysis/runtime_fault*",
    "convert/**/*.py",
    "parity/ledger/*.py",
    "targets/*",
    "parity/ranges/*.py",
    "jobs/artifacts.py",
    "jobs/beside.py",
    "jobs/build.py",
    "jobs/declared_outputs.py",
    "jobs/export.py",
    "jobs/fill_bundle.py",
    "jobs/given.py",
    "jobs/manifest.py",
    "jobs/measure.py",
    "jobs/request.py",
    "jobs/source.py",
    "jobs/target_files.py",
    "jobs/target_gates.py",
)
# The same for one ONNX or TFLite file of a given graph: the conversion, and the code of the modules that are in a graph
# (rewrites put some there). Not the proofs, and of the models not the families: the graph and its weights are part of
# the key. How memory is given back and workers are spoken to lies in store/ and counts too: simpler than to tell apart.
FILE_ROOMS = (
    "convert/**/*.py",
    "artifacts/*.py",
    "artifacts/executorch/*.py",
    "artifacts/coreml/*.py",
    "recipes/**/*.py",
    "models/*.py",
    "rewrites/fx/*.py",
    "rewrites/rules/*.py",
    "rewrites/shared/*.py",
    "store/**/*.py",
)
_PACKAGES = (
    "torch",
    "onnx",
    "onnxsim",
    "onnxruntime",
    "onnx2tf",
    "onnxscript",
    "onnx_ir",
    "tensorflow",
    "ai-edge-litert",
    "numpy",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "timm",
    "torchvision",
    "transformers",
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


def source_files(rooms: Iterable[str]) -> list[Path]:
    """Return mobilekit's own files in these rooms: patterns of paths in the package."""
    root = Path(__file__).parents[1]
    return sorted({path for room in rooms for path in root.glob(room) if path.is_file()})


def source_digest(rooms: Iterable[str]) -> str:
    """Return the SHA-256 of mobilekit's own files in these rooms: patterns of paths in the package."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in source_files(rooms):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
