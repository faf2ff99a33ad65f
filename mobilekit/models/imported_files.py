"""The files of the user's own that a Python file imports: what it makes depends on them as well."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = ("site-packages", "dist-packages")


def imported_files(path: Path) -> tuple[Path, ...]:
    """Return the files that the import statements of a file lead to, but those of Python and of installed packages.

    Args:
        path: A Python file that has run: what it imported is among the modules of this process.
    """
    found: set[Path] = set()
    waiting = [(path, "")]
    while waiting:
        file, package = waiting.pop()
        for name in _imported_names(ast.parse(file.read_bytes()), package):
            module = sys.modules.get(name)
            source = Path(getattr(module, "__file__", None) or "")
            if source.suffix == ".py" and source not in found and _is_own(source):
                found.add(source)
                waiting.append((source, getattr(module, "__package__", None) or ""))
    return tuple(sorted(found))


def _imported_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the modules that code may import, with the packages around them, by their full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: count + 1]) for count in range(len(parts)))


def _is_own(source: Path) -> bool:
    standard = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    is_installed = any(part in _INSTALLED for part in source.parts) or _PACKAGE in source.parents
    return source.is_file() and not is_installed and not standard & {*source.parents}
