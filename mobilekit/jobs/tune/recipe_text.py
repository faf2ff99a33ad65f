"""A tuned recipe as a file: what was measured as comments, and the recipe."""

from __future__ import annotations

from typing import Any

import yaml

from mobilekit.errors import first_line
from mobilekit.recipes.load import LoadedRecipe

_WIDTH = 120


def recipe_text(content: dict[str, Any], tuned: LoadedRecipe) -> str:
    """Return a recipe as YAML that reads back as the same recipe.

    Args:
        content: What was measured, as the JSON of `mobilekit tune`.
        tuned: The recipe that was chosen.
    """
    recipe = tuned.recipe.model_dump(mode="json", exclude_unset=True)
    if "rewrites" in recipe:
        recipe["rewrites"] = [step.model_dump(mode="json", exclude_defaults=True) for step in tuned.recipe.rewrites]
    body = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True)
    return "".join(f"# {line}\n" if line else "#\n" for line in notes(content)) + body


def notes(content: dict[str, Any]) -> list[str]:
    """Return what was measured, a line a form."""
    model, precision, base = content["model"], content["precision"], content["base"]
    lines = [f"{model}, tuned by `mobilekit tune` from the recipe {base['recipe']}."]
    if not content["device"]:
        return [*lines, f"Nothing was measured: {content['why']}."]
    device, engine, settings = content["device"], content["engine"], content["settings"]
    version = f" {engine['version']}" if engine["version"] else ""
    threads = f"{settings['threads']} thread{'s' * (settings['threads'] != 1)}"
    lines += [
        f"{device['model']} ({device['abi']}, {device['os']}), {engine['name']}{version}, {threads}, {precision};",
        f"{settings['rounds']} rounds of {settings['runs']} inferences, seed {settings['seed']}. "
        f"The recipe {base['recipe']} took {base['median_ms']:.3g} ms.",
        "Latency as a multiple of that, with its 95 % interval:",
    ]
    lines += [f"  {row['group']}: {row['form']}: {figure(row)}{_mark(row)}" for row in content["forms"]]
    if content["final"]:
        lines.append("What won, measured again:")
        lines += [f"  {name}: {figure(row)}" for name, row in content["final"].items() if row["ratio"] is not None]
    return [*lines, f"Chosen: {', '.join(content['chosen']) or 'the recipe as it was'}; {content['why']}."]


def figure(row: dict[str, Any]) -> str:
    """Return a ratio with its interval and verdict, or why there is none."""
    if row["ratio"] is None:
        return first_line(row["why_not"] or "", "not measured")
    return f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['verdict']}"


def _mark(row: dict[str, Any]) -> str:
    return " <- chosen" if row["chosen"] else ""
