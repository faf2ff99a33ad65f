"""The names of the reference models, read from the families' files: none is imported for them, and torch neither."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

from mobilekit.models import families


def family_names() -> list[str]:
    """Return the names of the modules in models/families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(families.__path__))


def registered_names() -> list[str]:
    """Return the names of all reference models, sorted, as `ModelEntry(name="...")` has them in the families' files."""
    files = (Path(folder) / f"{name}.py" for folder in families.__path__ for name in family_names())
    return sorted(name for file in files if file.is_file() for name in _names_in(ast.parse(file.read_text("utf-8"))))


def _names_in(code: ast.Module) -> list[str]:
    calls = (node for node in ast.walk(code) if isinstance(node, ast.Call))
    entries = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "ModelEntry")
    names = (word.value for entry in entries for word in entry.keywords if word.arg == "name")
    return [str(name.value) for name in names if isinstance(name, ast.Constant)]
