"""The names of the rewrites, found by looking: no rewrite is loaded for them, and torch neither.

A file of rewrites/rules is one rewrite: `hard_swish.py` has the one class whose name is `hard-swish`.
"""

from __future__ import annotations

import pkgutil
from importlib import metadata

from mobilekit.rewrites import rules

GROUP = "mobilekit.rewrites"
"""The group of entry points in which other packages name their rewrites."""


def own_names() -> list[str]:
    """Return the names of mobilekit's own rewrites, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(rules.__path__))


def installed_names() -> list[str]:
    """Return the names of the rewrites that installed packages bring, sorted; none is loaded."""
    return sorted(metadata.entry_points(group=GROUP).names)
