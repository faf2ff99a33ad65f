"""A manifest as an export writes it, for tests that make a bundle by hand."""

from __future__ import annotations

from typing import Any


def manifest_of(**parts: Any) -> dict[str, Any]:
    """Return what a manifest holds before its files are vouched for, with these parts in place of usual ones."""
    return {
        "format": 1,
        "request": "0" * 64,
        "model": {"name": "net", "options": {}, "weights": {"source": "seeded", "trained": False, "sha256": "0" * 64}},
        "recipe": {"name": "default", "content": {}},
        "precision": [],
        "calibration": {"source": "built-in photos", "count": 1, "sha256": "0" * 64},
        "tools": {"mobilekit": "0.1.0"},
        "input": {},
        "artifacts": {},
        **parts,
    }
