"""`mobilekit recipes`: list, show, check, and the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.output import out, print_json
from mobilekit.errors import UsageError, nearest

app = typer.Typer(help="How models are exported, as data.", invoke_without_command=True)


@app.callback()
def list_recipes(context: typer.Context, as_json: options.Json = False) -> None:
    """List the built-in recipes and the models that use them.

    Examples: `mobilekit recipes` · `mobilekit recipes show ghostnetv2`
    """
    if context.invoked_subcommand:
        return
    from mobilekit.recipes.builtin import recipe_models

    recipes = recipe_models()
    if as_json:
        print_json([{"name": name, "models": models} for name, models in recipes.items()])
        return
    for name, models in recipes.items():
        out.print(f"{name:20s} {', '.join(models)}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A built-in recipe.")], as_json: options.Json = False) -> None:
    """Print a built-in recipe, to read or to start your own from.

    Example: `mobilekit recipes show ghostnetv2 > mine.yaml`
    """
    from mobilekit.recipes.builtin import builtin_recipes
    from mobilekit.recipes.load import load_recipe

    recipes = builtin_recipes()
    if name not in recipes:
        raise UsageError(f"There is no recipe {name}.", nearest(name, recipes))
    if as_json:
        print_json(load_recipe(name).recipe.model_dump(mode="json"))
    else:
        out.print(recipes[name], end="")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A recipe's YAML file.")], as_json: options.Json = False) -> None:
    """Check a recipe: keys, values, rewrites and their options, models and theirs; all faults are named at once.

    Example: `mobilekit recipes check mine.yaml`
    """
    from mobilekit.cli.render.format import count
    from mobilekit.jobs.check_recipe import check_recipe

    steps = check_recipe(str(file)).recipe.rewrites
    if as_json:
        print_json({"file": str(file), "valid": True, "rewrites": [step.name for step in steps]})
    else:
        out.print(f"{file} is a valid recipe with {count(len(steps), 'rewrite')}.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors.

    Example: `mobilekit recipes schema > recipe.schema.json`
    """
    from mobilekit.recipes.schema import Recipe

    print_json(Recipe.model_json_schema())
