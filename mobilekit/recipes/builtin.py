"""The recipes that come with mobilekit: their texts, and the models they are for."""

from __future__ import annotations

from importlib import resources

import yaml


def builtin_recipes() -> dict[str, str]:
    """Return the text of each recipe that comes with mobilekit, by name."""
    folder = resources.files("export_recipes")
    return {
        path.name.removesuffix(".yaml"): path.read_text()
        for path in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if path.name.endswith(".yaml")
    }


def recipe_models() -> dict[str, list[str]]:
    """Return the models that each built-in recipe is for, by its name; the recipes are not checked here."""
    return {name: yaml.safe_load(text).get("models", []) for name, text in builtin_recipes().items()}
