"""The names of models: what each says, and the reference models' own, read from the families' files.

None of those is imported for them, and torch neither.
"""

from __future__ import annotations

import ast
import pkgutil
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from mobilekit.errors import UsageError, nearest
from mobilekit.models import families

TIMM = "timm:"
TORCHVISION = "torchvision:"
TRANSFORMERS = "hf:"
LIBRARIES = (TIMM, TORCHVISION, TRANSFORMERS)
"""What stands before the name of a library's model."""
LIVE = "module:"
"""What stands before the class of a module that Python code gave."""
NO_WEIGHTS = Path("none")
"""In the place of a checkpoint: weights are drawn anew, also where a model comes with some or its factory sets them."""
PRETRAINED = Path("pretrained")
"""In the place of a checkpoint: a library's trained weights, which are downloaded where they are not on the disk."""


def family_names() -> list[str]:
    """Return the names of the modules in models/families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(families.__path__))


def registered_names() -> list[str]:
    """Return the names of all reference models, sorted, as `ModelEntry(name="...")` has them in the families' files."""
    files = (Path(folder) / f"{name}.py" for folder in families.__path__ for name in family_names())
    return sorted(name for file in files if file.is_file() for name in _names_in(ast.parse(file.read_text("utf-8"))))


def library_of(spec: str) -> str | None:
    """Return what stands before the name of a library's model, such as `timm:`; None for any other name."""
    return next((prefix for prefix in LIBRARIES if spec.startswith(prefix)), None)


def file_spec(spec: str) -> tuple[Path, str] | None:
    """Return the file and the factory of a model that is named `FILE.py:FACTORY`; None for any other name."""
    path, _, factory = spec.rpartition(":")
    return (Path(path), factory) if path.endswith(".py") else None


def has_own_weights(spec: str) -> bool:
    """Return whether a model is the user's own, with the weights that its code gives it."""
    return spec.startswith(LIVE) or file_spec(spec) is not None


def is_registered(spec: str) -> bool:
    """Return whether a model's name is that of a reference model, for which mobilekit has a recipe."""
    return library_of(spec) is None and not has_own_weights(spec)


def folder_name(spec: str) -> str:
    """Return a name for the bundle of a model: `timm:resnet18` is resnet18, `nets/mine.py:small` is mine_small."""
    if spec.startswith(LIVE):
        return spec.removeprefix(LIVE)
    if prefix := library_of(spec):
        return Path(spec.removeprefix(prefix)).absolute().name
    code = file_spec(spec)
    return f"{code[0].stem}_{code[1]}" if code else spec


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes of which no two are the same: ImageNet has two cranes, and the second is `crane (2)`."""
    met: Counter[str] = Counter()
    found = []
    for label in labels:
        met[label] += 1
        found.append(f"{label} ({met[label]})" if met[label] > 1 else label)
    return tuple(found)


def check_name(spec: str) -> None:
    """Refuse what can be no model, before anything slow is imported.

    What a library has, and what FILE.py holds, is not known here.

    Raises:
        UsageError: It is neither registered nor a library's model nor `FILE.py:FACTORY`, or there is no FILE.py.
    """
    if spec.startswith(LIVE):
        raise UsageError(
            f"{spec} is a module of Python code, which a command line does not have.",
            "Write a function that returns it, and name it FILE.py:FUNCTION.",
        )
    if prefix := library_of(spec):
        if spec == prefix:
            raise UsageError(f"{spec} names no model.", f"Write it behind the colon: {prefix}NAME.")
    elif code := file_spec(spec):
        if not code[0].is_file():
            raise UsageError(f"There is no file {code[0]}.")
    elif spec.endswith(".py"):
        raise UsageError(f"{spec} names no factory.", f"Name the function that makes the model: {spec}:FUNCTION.")
    else:
        check_registered(spec)


def check_registered(name: str) -> None:
    """Refuse a name that no reference model has.

    Raises:
        UsageError: There is none; the libraries' models of this name, or the nearest names, are in the message.
    """
    known = registered_names()
    if name not in known:
        raise UsageError(f"There is no model {name}.", nearest_models(name, known))


def nearest_models(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the libraries' models of this name, or else the nearest of those that are known."""
    found = " or ".join(in_libraries(name))
    return f"Did you mean {found}?" if found else nearest(name, known)


def in_libraries(name: str) -> Iterator[str]:
    """Yield what names a model of this name in timm and in torchvision, where these are installed and have it.

    Their files are read, and nothing is imported.
    """
    made = re.compile(rf"^@register_model\b.*\n(?:(?!def |class ).*\n)*?def {re.escape(name)}\(".encode(), re.MULTILINE)
    for prefix in (TIMM, TORCHVISION) if name.isidentifier() else ():
        found = PathFinder.find_spec(prefix.rstrip(":"))
        folders = found.submodule_search_locations if found else None
        files = (file for folder in folders or () for file in sorted(Path(folder, "models").rglob("*.py")))
        if any(made.search(file.read_bytes()) for file in files):
            yield f"{prefix}{name}"


def _names_in(code: ast.Module) -> list[str]:
    calls = (node for node in ast.walk(code) if isinstance(node, ast.Call))
    entries = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "ModelEntry")
    names = (word.value for entry in entries for word in entry.keywords if word.arg == "name")
    return [str(name.value) for name in names if isinstance(name, ast.Constant)]
