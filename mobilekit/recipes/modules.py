"""Modules of a PyTorch model, named by their paths in a recipe."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

GATED_BRANCHES = {"DFCAttention": "DFC"}
"""What reports call the branch beside a block that gates its output, by the class of the module that has it.

A family that brings such a module names it here: who reads files does not import models."""


def is_inside(path: str, modules: Collection[str]) -> bool:
    """Return whether a path names one of the modules, or something in one.

    Args:
        path: Such as `blocks.0.conv`.
        modules: Paths; `*` stands for any characters, so that `blocks.*.se` is the gate of every block.
    """
    return any(fnmatchcase(path, name) or fnmatchcase(path, f"{name}.*") for name in modules)
