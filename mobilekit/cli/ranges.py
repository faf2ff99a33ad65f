"""`mobilekit ranges`: what float16 and int8 will do to a model's activations."""

from __future__ import annotations

from pathlib import Path

from mobilekit.cli import options
from mobilekit.cli.output import err, out, print_json, working
from mobilekit.cli.sources import check_source, is_bundle


def ranges(
    model: options.ModelOrBundle,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    reference: options.Reference = None,
    as_json: options.Json = False,
) -> None:
    """Record a model's activations on calibration inputs, and warn of what float16 and int8 will do to them.

    Nothing is converted. Each warning names the module and what helps. Exit code 0, whatever is found.

    Examples: `mobilekit ranges efficientvit_b1` · `mobilekit ranges artifacts/ghostnetv2 --calibration photos --json` ·
    `mobilekit ranges timm:mobilevit_s --recipe mine.yaml`
    """
    from mobilekit.cli.render.ranges import float16_lines, range_lines, verdict_line
    from mobilekit.jobs.ranges import ranges_of_bundle, ranges_of_model
    from mobilekit.jobs.source import Source, choose_recipe

    check_source(model, recipe, weights, reference)
    with working(f"reading {model}") as tell:
        if is_bundle(model):
            found = ranges_of_bundle(Path(model), calibration, reference, tell)
        else:
            found = ranges_of_model(Source(model, choose_recipe(model, recipe, weights), weights, calibration), tell)
    if as_json:
        print_json(found.to_json())
        return
    if found.note:
        out.print(found.note)
    lines = [*range_lines(found.lint, in_full=True), *float16_lines(found.float16_losses)]
    for line in (*lines, verdict_line(found.lint)):
        out.print(line)
    if not found.is_trained:
        err.print(f"note: the model has {found.weights}.")
