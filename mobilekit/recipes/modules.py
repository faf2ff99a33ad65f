"""Modules of a PyTorch model, named by their paths in a recipe."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase


def is_inside(path: str, modules: Collection[str]) -> bool:
    """Return whether a path names one of the modules, or something in one.

    Args:
        path: Such as `blocks.0.conv`.
        modules: Paths; `*` stands for any characters, so that `blocks.*.se` is the gate of every block.
    """
    return any(fnmatchcase(path, name) or fnmatchcase(path, f"{name}.*") for name in modules)
