"""`mobilekit rewrites`: what rewrites there are, what they do to a model, and which sites are cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from mobilekit.cli import options
from mobilekit.cli.option_values import split_inputs
from mobilekit.cli.output import out, print_json, working
from mobilekit.store.bundle import INPUT

if TYPE_CHECKING:
    from mobilekit.jobs.build import Built

app = typer.Typer(help="Rewrites of a model, each with a stated exactness.", no_args_is_help=True)


@app.command("list")
def list_rewrites(as_json: options.Json = False) -> None:
    """List the rewrites that a recipe can name, with their exactness and options.

    Example: `mobilekit rewrites list`
    """
    from mobilekit.rewrites.catalogue import find_rewrite, rewrite_names

    entries = [
        {
            "name": rewrite.name,
            "exactness": rewrite.exactness.value,
            "summary": rewrite.summary,
            "experimental": rewrite.experimental or None,
            "options": rewrite.options_type.model_json_schema().get("properties", {}),
        }
        for rewrite in map(find_rewrite, rewrite_names())
    ]
    if as_json:
        print_json(entries)
        return
    table = Table(box=None)
    for column in ("rewrite", "exactness", "options", "what it does"):
        table.add_column(column, no_wrap=column != "what it does")
    for entry in entries:
        table.add_row(entry["name"], entry["exactness"], ", ".join(entry["options"]) or "-", entry["summary"])
    out.print(table)
    out.print("\nExperimental, in no recipe that comes with mobilekit:")
    for entry in entries:
        if entry["experimental"]:
            out.print(f"  {entry['name']}: {entry['experimental']}", markup=False)


@app.command("explain")
def explain(
    model: options.Model,
    recipe: options.Recipe = None,
    rewrite: options.OneRewrite = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    as_json: options.Json = False,
) -> None:
    """Show what a recipe's rewrites do to a model: every site, proof errors and drifts, MACs and ops.

    A refused site is shown with the reason. Exit code 1 if a proof failed; a drift above its limit is shown.

    Examples: `mobilekit rewrites explain ghostnetv2` · `mobilekit rewrites explain timm:resnet18 --rewrite
    fold-batch-norm`
    """
    from mobilekit.cli.render.rewrites import explanation
    from mobilekit.jobs import explain_rewrites as explaining
    from mobilekit.jobs.build import build
    from mobilekit.jobs.source import Source, choose_recipe

    loaded = choose_recipe(model, recipe, weights)
    named = rewrite is None or any(step.name == rewrite for step in loaded.recipe.rewrites)
    chosen = explaining.only(loaded, rewrite) if rewrite else loaded
    with working(f"building {model}") as tell:
        built = build(Source(model, loaded, weights, calibration), tell)
        explained = explaining.explain(built.reference.model, chosen, built.tensors, tell)
    content = {**_heading(built), **explained.to_json()}
    for step in () if named else content["steps"]:  # there is no recipe to promise anything
        step.update(max_drift=None, min_top1_agreement=None, within_limits=None)
    if as_json:
        print_json(content)
        return
    out.print(explanation(content, in_full=rewrite is not None))


@app.command("rank")
def rank(
    model: options.Model,
    rewrite: options.ApproximateRewrite,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    max_drift: Annotated[
        float | None, typer.Option(min=0, help="Print the step of a recipe that swaps as many sites as this allows.")
    ] = None,
    inputs: options.InputsOrCount = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Number of inputs to measure on; all of them without.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Rank the sites of an approximate rewrite by what each costs, each swapped alone, in float64.

    Costs are measured on the calibration inputs, which fits see, or on --inputs, which they do not.
    The cumulative drift is of a site and all before it in the list. Steps that the recipe has before this rewrite are
    applied first.

    Examples: `mobilekit rewrites rank ghostnetv2 --rewrite hard-sigmoid` · `mobilekit rewrites rank timm:convnext_tiny
    --rewrite tanh-gelu --max-drift 0.01`
    """
    from mobilekit.cli.render.rewrites import ranking
    from mobilekit.jobs.build import build, evaluation_tensors
    from mobilekit.jobs.rank_rewrites import cheapest, step_for
    from mobilekit.jobs.rank_rewrites import rank as measure
    from mobilekit.jobs.source import Source, choose_recipe

    pictures, measured = split_inputs(inputs, count)
    loaded = choose_recipe(model, recipe, weights)
    if max_drift is not None:
        step_for(loaded, rewrite, [], max_drift)  # to refuse before the work
    with working(f"building {model}") as tell:
        built = build(Source(model, loaded, weights, calibration), tell)
        pool = evaluation_tensors(loaded.recipe, pictures) if pictures else built.tensors
        chosen = {name: tensor[:measured] for name, tensor in pool.items()}
        fitted = built.tensors if pictures else chosen
        ranked = measure(built.reference.model, loaded, rewrite, fitted, tell, chosen)
    step = step_for(loaded, rewrite, cheapest(ranked, max_drift), max_drift) if max_drift is not None else None
    content = {
        **_heading(built),
        "rewrite": rewrite,
        "inputs": len(chosen[INPUT]),
        "sites": [site.to_json() for site in ranked],
        "step": step,
    }
    if as_json:
        print_json(content)
        return
    out.print(ranking(content))


def _heading(built: Built) -> dict[str, Any]:
    source = built.source
    return {"model": source.model, "recipe": source.recipe.name, "weights": built.reference.weights_source}
