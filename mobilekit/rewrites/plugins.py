"""Rewrites of other packages, which name them in the entry point group `mobilekit.rewrites`."""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path
from typing import Any

from mobilekit.errors import UsageError
from mobilekit.rewrites.base import Rewrite
from mobilekit.rewrites.names import GROUP
from mobilekit.store.files import sha256_of

GRAPH = "aten"
"""What a package's rewrite says of the graph that it works on."""


def load_installed(name: str) -> type[Rewrite[Any]]:
    """Return an installed package's rewrite. The package's code runs.

    Raises:
        UsageError: It cannot be loaded, two packages bring it, it is no rewrite of this name, or of older graphs.
    """
    points = sorted(metadata.entry_points(group=GROUP, name=name), key=lambda point: point.value)
    if len({point.value for point in points}) > 1:
        raise UsageError(f"Two packages bring a rewrite {name}: {' and '.join(map(_origin, points))}.")
    try:
        kind = points[0].load()
    except Exception as error:  # whatever the package's code raises
        raise UsageError(
            f"The rewrite {name} of {_origin(points[0])} cannot be loaded: {type(error).__name__}: {error}."
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Rewrite)):
        raise UsageError(f"{_origin(points[0])} names {name} in {GROUP}, which is no subclass of Rewrite.")
    if inspect.isabstract(kind) or getattr(kind, "name", None) != name:
        fault = "abstract" if inspect.isabstract(kind) else f"named {getattr(kind, 'name', 'nothing')}"
        raise UsageError(f"{_origin(points[0])} names {name} in {GROUP}, and the class is {fault}.")
    if kind.graph != GRAPH:
        raise UsageError(
            f"The rewrite {name} of {_origin(points[0])} was written for another form of graph than this mobilekit's.",
            f'docs/rewrites.md says how to port it (Port a rewrite); its class then says graph = "{GRAPH}".',
        )
    return kind


def source_of(name: str) -> str:
    """Return the SHA-256 of the file that defines an installed rewrite."""
    return sha256_of(Path(inspect.getfile(load_installed(name))))


def _origin(point: metadata.EntryPoint) -> str:
    package = point.dist.name if point.dist else "a package"
    return f"{package} ({point.value})"
