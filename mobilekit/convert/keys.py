"""What the cache knows the files of a conversion by."""

from __future__ import annotations

from torch.fx import GraphModule

from mobilekit.models.weights import settings_of
from mobilekit.rewrites.fx.graph import path_of
from mobilekit.store.versions import FILE_ROOMS, source_digest, tool_versions


def structure(graph: GraphModule) -> dict[str, object]:
    """Return what a graph is but for its weights: its code, its modules with their settings, and whose each step is."""
    return {
        "code": graph.code,
        "modules": settings_of(graph),
        "places": [path_of(node) for node in graph.graph.nodes],
    }


def tools() -> dict[str, object]:
    """Return the versions of all that makes files, and the digest of our own part in it."""
    return {"tools": tool_versions(), "convert": source_digest(FILE_ROOMS)}
