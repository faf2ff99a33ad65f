"""`mobilekit quantize-search`: what int8 leaves in float, found by measurement."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mobilekit.cli import options
from mobilekit.cli.output import err, out, print_json, progress
from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from mobilekit.jobs.quantize_search.job import Found


def quantize_search(
    model: options.Model,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    cosine: Annotated[
        float, typer.Option(min=0, max=1, help="Smallest cosine of an input's outputs that is good enough.")
    ] = 0.99,
    most: Annotated[int, typer.Option(min=1, help="Largest number of parts to add in float.")] = 6,
    inputs: Annotated[int, typer.Option(min=1, help="Number of calibration inputs to search on.")] = 4,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the recipe with them here, YAML.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the trade-off: .png or .svg.")] = None,
    as_json: options.Json = False,
) -> None:
    """Find the little that has to stay in float for int8 to hold a limit, and write it into a recipe.

    Modules of the model, all modules of a name, and kinds of ops such as sums are tried in float in an imitation of
    int8 on calibration inputs. What takes away the most error for its share of the work is kept, and so on; then int8
    files are made and measured on evaluation inputs until one holds the limit. Exit code 1 if none does.

    Examples: `mobilekit quantize-search ghostnetv2 -o mixed.yaml` · `mobilekit quantize-search nets/mine.py:make
    --cosine 0.995 --plot trade-off.svg`
    """
    import torch

    from mobilekit.cli.render.float_search_chart import draw_search
    from mobilekit.cli.render.plots import check_place
    from mobilekit.jobs.export import ExportRequest, recipe_of
    from mobilekit.jobs.quantize_search.job import as_yaml, search
    from mobilekit.recipes.load import load_recipe
    from mobilekit.store.cache import Cache
    from mobilekit.store.files import write_atomic

    torch.set_num_threads(1)
    if plot:
        check_place(plot)
    for path in (output, plot):
        if path and not path.absolute().parent.is_dir():
            raise UsageError(f"There is no folder {path.absolute().parent} to write {path.name} in.")
    loaded = load_recipe(recipe) if recipe else recipe_of(model)
    with TemporaryDirectory() as scratch, progress(f"searching {model}") as tell:
        request = ExportRequest(model, loaded, Path(scratch) / "bundle", weights, calibration)
        found = search(request, cosine, most, inputs, Cache.default(), tell)
    content = {"model": model, "recipe": loaded.name, **found.to_json()}
    if output:
        write_atomic(output, as_yaml(found.recipe).encode())
    if plot:
        draw_search(content, plot)
    if as_json:
        print_json(content)
    else:
        _print(found, output)
    if not found.holds:
        raise typer.Exit(1)


def _print(found: Found, output: Path | None) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("more in float", "layers", "cost %", "rel L2", "cosine", "int8 file", "MB", "partitions"):
        table.add_column(column, justify="left" if column.startswith("more") else "right", no_wrap=True)
    for point in found.points:
        file = next((file for file in found.files if file.int8 == point.int8), None)
        table.add_row(
            point.added or "(the recipe as it is)",
            str(point.layers),
            f"{100 * point.cost:.1f}",
            f"{point.relative_l2:.4f}",
            f"{point.cosine:.5f}",
            *((f"{file.cosine:.5f}", f"{file.size_bytes / 1e6:.2f}", str(file.partitions)) if file else ("", "", "")),
        )
    out.print(table)
    out.print("cost: mean of the shares of multiply-accumulates and of values that are in float, or turned into float.")
    out.print("rel L2 and cosine: imitated, on calibration inputs. int8 file: its cosine, on evaluation inputs.")
    last = found.files[-1]
    parts = ", ".join((*last.int8.keep_float, *last.int8.float_modules)) or "nothing"
    if found.holds:
        out.print(f"{found.limit:g} holds with {parts} in float.")
    else:
        err.print(f"{found.limit:g} does not hold: {last.cosine:.5f} with {parts} in float.")
        err.print("--most allows more parts; --calibration takes more pictures, where ranges are what fails.")
    if output:
        out.print(f"{output} is written.")
