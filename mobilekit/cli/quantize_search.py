"""`mobilekit quantize-search`: what int8 leaves in float, found by measurement."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.count import DEVICE, check_core
from mobilekit.cli.option_values import split_inputs
from mobilekit.cli.output import err, out, print_json, working
from mobilekit.cli.sources import source_of
from mobilekit.errors import UsageError


def quantize_search(
    model: options.ModelOrBundle,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    cosine: Annotated[
        float, typer.Option(min=0, max=1, help="Smallest cosine of an input's outputs that is good enough.")
    ] = 0.99,
    most: Annotated[int, typer.Option(min=1, help="Largest number of parts to add in float.")] = 6,
    inputs: options.InputsOrCount = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of calibration inputs to search on; 4.")] = None,
    reference: options.Reference = None,
    device: Annotated[
        str | None, typer.Option(help="`emulated`, with --core: count each file that is made on an ARM core.")
    ] = None,
    core: options.Core = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the recipe with them here, YAML.")
    ] = None,
    plot: options.Plot = None,
    as_json: options.Json = False,
) -> None:
    """Find the little that has to stay in float for int8 to hold a limit, and write it into a recipe.

    Modules of the model, all modules of a name, and kinds of ops such as sums are tried in float in a simulation of
    int8 on calibration inputs. What takes away the most error for its share of the work is kept, and so on; then int8
    files are made and measured on evaluation inputs until one holds the limit. With --device emulated --core CORE the
    instructions of each of them stand beside. Exit code 1 if none holds.

    Examples: `mobilekit quantize-search ghostnetv2 -o mixed.yaml` · `mobilekit quantize-search nets/mine.py:make
    --cosine 0.995 --plot trade-off.svg` · `mobilekit quantize-search artifacts/mine_make --calibration photos --inputs
    test --reference nets/mine.py:make`
    """
    if device not in (None, DEVICE) or (device and not core):
        raise UsageError(
            f"--device {device} has no meaning here: files are only counted.",
            f"--device {DEVICE} --core a76 counts on a Cortex-A76; `mobilekit bench` measures times.",
        )
    check_core(core, device or "local", {})
    from mobilekit.bench.instructions.cores import core_named
    from mobilekit.cli.render.float_search_chart import draw_search
    from mobilekit.cli.render.quantize_search import search_report
    from mobilekit.jobs.quantize_search.job import as_yaml, search
    from mobilekit.jobs.request import ExportRequest
    from mobilekit.store.bundle import refuse_inside_bundle
    from mobilekit.store.cache import Cache
    from mobilekit.store.files import write_atomic

    for path in (output, plot):
        if path and not path.absolute().parent.is_dir():
            raise UsageError(f"There is no folder {path.absolute().parent} to write {path.name} in.", "Make it first.")
        if path:
            refuse_inside_bundle(path)
    pictures, searched = split_inputs(inputs, count)
    source, note = source_of(model, recipe, weights, calibration, pictures, reference)
    with TemporaryDirectory() as scratch, working(f"searching {model}") as tell:
        request = ExportRequest(source, Path(scratch) / "bundle")
        counted = core_named(core) if core else None
        found = search(request, cosine, most, searched or 4, Cache.default(), tell, counted)
    if output:
        write_atomic(output, as_yaml(found.recipe).encode())
    if plot:
        draw_search(found, plot)
    if as_json:
        print_json({**found.to_json(), "notes": [note] if note else []})
    else:
        if note:
            out.print(note)
        out.print(search_report(found))
        if not found.holds:
            err.print("--most allows more parts; --calibration takes more images, where ranges are what fails.")
        if output:
            out.print(f"{output} is written.")
    if not found.holds:
        raise typer.Exit(1)
