"""The rewrites that there are, by name."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, replace
from typing import Any

from mobilekit.errors import UsageError, nearest
from mobilekit.recipes.load import LoadedRecipe, check_options
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites import rules
from mobilekit.rewrites.base import Rewrite
from mobilekit.rewrites.names import installed_names, own_names
from mobilekit.rewrites.plugins import load_installed


def load_rule(name: str) -> type[Rewrite[Any]]:
    """Return the rewrite in the file of rewrites/rules that is named as it is.

    Raises:
        TypeError: The file has not just this one rewrite.
    """
    module = importlib.import_module(f"{rules.__name__}.{name.replace('-', '_')}")
    kinds = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    found = [kind for kind in kinds if issubclass(kind, Rewrite) and not inspect.isabstract(kind)]
    if [kind.name for kind in found] != [name]:
        names = ", ".join(getattr(kind, "name", "one without a name") for kind in found) or "none"
        raise TypeError(f"{module.__file__} is to have one rewrite, named {name}; it has {names}")
    return found[0]


REWRITES: dict[str, type[Rewrite[Any]]] = {name: load_rule(name) for name in own_names()}


def rewrite_names() -> list[str]:
    """Return the names of all rewrites: mobilekit's own, then those of installed packages."""
    return [*REWRITES, *(name for name in installed_names() if name not in REWRITES)]


def find_rewrite(name: str) -> type[Rewrite[Any]]:
    """Return the rewrite of this name; mobilekit's own comes before an installed package's.

    Raises:
        UsageError: There is none, or its package cannot be used.
    """
    if name in REWRITES:
        return REWRITES[name]
    if name in installed_names():
        return load_installed(name)
    raise UsageError(f"There is no rewrite {name}.", nearest(name, rewrite_names()))


@dataclass(frozen=True)
class Step:
    """One step of a recipe, with its rewrite made."""

    index: int
    """Its place among the recipe's steps, from 0."""
    spec: RewriteStep
    """What the recipe says."""
    rewrite: Rewrite[Any]
    where: str
    """`file:line`, for error messages."""
    wrong_on: str = ""
    """A target of the recipe's that computes the rewrite's form wrongly, and why; empty where there is none."""

    @property
    def name(self) -> str:
        """The rewrite's name."""
        return self.spec.name

    def fresh(self) -> Step:
        """Return the same step with its rewrite made anew: one that is applied keeps what it measured."""
        return replace(self, rewrite=type(self.rewrite)(self.rewrite.options))


def steps_of(loaded: LoadedRecipe) -> list[Step]:
    """Return the recipe's steps with their rewrites made.

    Raises:
        UsageError: A step names no rewrite, or gives it wrong options; with file and line.
    """
    return [step_of(loaded, index) for index in range(len(loaded.recipe.rewrites))]


def step_of(loaded: LoadedRecipe, index: int) -> Step:
    """Return one of the recipe's steps with its rewrite made.

    Raises:
        UsageError: It names no rewrite, or gives it wrong options; with file and line.
    """
    spec = loaded.recipe.rewrites[index]
    if spec.name not in rewrite_names():
        place = loaded.where(("rewrites", index, "name"))
        raise UsageError(f"{place}: there is no rewrite {spec.name}.", nearest(spec.name, rewrite_names()))
    kind = find_rewrite(spec.name)
    options = check_options(kind.options_type, spec.options, loaded, ("rewrites", index, "options"))
    wrong = (
        f"{word} is a target, and {kind.wrong_on[chip]}"
        for word in loaded.recipe.gates.targets or {}
        if (chip := word.partition(":")[0]) in kind.wrong_on
    )
    return Step(index, spec, kind(options), loaded.where(("rewrites", index)), next(wrong, ""))
