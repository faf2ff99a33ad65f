"""What apps run on: which files its runtimes take, and where a project has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

from mobilekit.store.manifest import File


@dataclass(frozen=True)
class Platform:
    """One platform. Its templates lie in the folder of its name."""

    formats: tuple[str, ...]
    """Of the files that its runtimes open."""
    why_not: Callable[[File], str | None]
    """Return why they do not take one of these."""
    versions: Callable[[], Mapping[str, str]]
    """Return the packages that a project asks for."""
    models: str
    """Folder of the files in a project."""
    labels: str
    """Where the names of the classes are."""
    goldens: str
    """Folder of the goldens."""
    next_steps: str
    """What to do in the project's folder, a line."""
    has_gpu: bool = False
    """Whether its golden test runs files on a GPU, too."""


def _installed() -> dict[str, str]:
    """Return the versions that the files were measured with here, as the lowest of their major version."""
    there = {name: metadata.version(name) for name in ("ai-edge-litert", "numpy", "pillow")}
    return {name: f">={version},<{int(version.split('.')[0]) + 1}" for name, version in there.items()}


PLATFORMS: Mapping[str, Platform] = {
    "python": Platform(
        ("tflite",),
        lambda _file: None,
        _installed,
        "model",
        "labels.txt",
        "goldens",
        "pip install -r requirements.txt && python -m unittest",
    ),
}
