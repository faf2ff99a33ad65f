"""What others build on: the functions of the package, the signatures they are called by, and a plug-in's imports.

A change here is a change for users: it belongs into CHANGELOG.md.
"""

from __future__ import annotations

import enum
import inspect

import mobilekit
from tests.conftest import ROOT
from tests.snapshots import check_snapshot

DATA = ROOT / "tests" / "data"


def described(name: str, value: object) -> str:
    """Return a line for what can be called, and one for each public method of a class."""
    if not inspect.isclass(value):
        return f"{name}{inspect.signature(value)}"  # type: ignore[arg-type]
    members = [repr(member) for member in value] if issubclass(value, enum.Enum) else []
    own = {key: member for key, member in vars(value).items() if inspect.isfunction(member) and key[0] != "_"}
    fields = [key for key in getattr(value, "__annotations__", {}) if not key.startswith("_")]
    lines = [f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"]
    lines += [f"    {member}" for member in members]
    lines += [f"    {key}: {value.__annotations__[key]}" for key in fields]
    lines += [f"    {key}{inspect.signature(member)}" for key, member in own.items()]
    return "\n".join(lines)


def test_the_functions_of_the_package() -> None:
    lines = [described(name, getattr(mobilekit, name)) for name in sorted(mobilekit.__all__)]
    check_snapshot("public_api.txt", "\n".join(lines) + "\n", DATA)


def test_what_a_plug_in_imports() -> None:
    from mobilekit.rewrites import base

    names = ("Exactness", "Options", "Rewrite", "Site")
    lines = [described(name, getattr(base, name)) for name in names]
    check_snapshot("plug_in_api.txt", "\n".join(lines) + "\n", DATA)
