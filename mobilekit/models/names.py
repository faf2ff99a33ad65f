"""The names of models: what each says, and the reference models' own, read from the families' files.

None of those is imported for them, and torch neither.
"""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

from mobilekit.errors import UsageError, nearest
from mobilekit.models import families

TIMM = "timm:"
NO_WEIGHTS = Path("none")
"""In the place of a checkpoint: weights are drawn anew, also where a model comes with some or its factory sets them."""


def family_names() -> list[str]:
    """Return the names of the modules in models/families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(families.__path__))


def registered_names() -> list[str]:
    """Return the names of all reference models, sorted, as `ModelEntry(name="...")` has them in the families' files."""
    files = (Path(folder) / f"{name}.py" for folder in families.__path__ for name in family_names())
    return sorted(name for file in files if file.is_file() for name in _names_in(ast.parse(file.read_text("utf-8"))))


def file_spec(spec: str) -> tuple[Path, str] | None:
    """Return the file and the factory of a model that is named `FILE.py:FACTORY`; None for any other name."""
    path, _, factory = spec.rpartition(":")
    return (Path(path), factory) if path.endswith(".py") else None


def is_registered(spec: str) -> bool:
    """Return whether a model's name is that of a reference model, for which mobilekit has a recipe."""
    return not spec.startswith(TIMM) and file_spec(spec) is None


def folder_name(spec: str) -> str:
    """Return a name for the bundle of a model: `timm:resnet18` is resnet18, `nets/mine.py:small` is mine_small."""
    code = file_spec(spec)
    return f"{code[0].stem}_{code[1]}" if code else spec.removeprefix(TIMM)


def check_name(spec: str) -> None:
    """Refuse what can be no model, before anything slow is imported.

    Of `timm:NAME`, and of what FILE.py holds, nothing is known here.

    Raises:
        UsageError: It is neither registered nor `timm:NAME` nor `FILE.py:FACTORY`, or there is no FILE.py.
    """
    if spec.startswith(TIMM):
        return
    if code := file_spec(spec):
        if not code[0].is_file():
            raise UsageError(f"There is no file {code[0]}.")
    elif spec.endswith(".py"):
        raise UsageError(f"{spec} names no factory.", f"Name the function that makes the model: {spec}:FUNCTION.")
    else:
        check_registered(spec)


def check_registered(name: str) -> None:
    """Refuse a name that no reference model has.

    Raises:
        UsageError: There is none; the nearest names are in the message.
    """
    known = registered_names()
    if name not in known:
        raise UsageError(f"There is no model {name}.", nearest(name, known))


def _names_in(code: ast.Module) -> list[str]:
    calls = (node for node in ast.walk(code) if isinstance(node, ast.Call))
    entries = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "ModelEntry")
    names = (word.value for entry in entries for word in entry.keywords if word.arg == "name")
    return [str(name.value) for name in names if isinstance(name, ast.Constant)]
