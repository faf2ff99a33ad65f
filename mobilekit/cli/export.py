"""`mobilekit export`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mobilekit.cli import options
from mobilekit.cli.option_values import split_frame, split_numbers, split_size, split_words
from mobilekit.cli.output import err, out, print_json, working
from mobilekit.errors import UsageError
from mobilekit.store.cache import Cache, NoCache

if TYPE_CHECKING:
    from mobilekit.cli.results import ExportResult
    from mobilekit.jobs.export import Exported
    from mobilekit.store.manifest import Given


def export(
    model: options.Model,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="Take the trained weights of timm, torchvision or the hub: --weights pretrained."
        ),
    ] = False,
    input_size: options.InputSize = None,
    precision: options.Precisions = None,
    color: options.Color = None,
    mean: options.Mean = None,
    std: options.Std = None,
    input_dtype: options.InputDtype = None,
    input_from: options.InputFrom = None,
    batch: options.Batch = None,
    crop: options.Crop = None,
    resize: options.Resize = None,
    channels: options.Channels = None,
    labels: options.Labels = None,
    max_top1_drop: options.MaxTop1Drop = None,
    target: options.Targets = None,
    calibration: options.Calibration = None,
    inputs: options.Inputs = None,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Number of classes of the model.")] = None,
    rewrites: Annotated[str, typer.Option(help="`on`, or `off` to convert the model as it is.")] = "on",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make; artifacts/MODEL without.")
    ] = None,
    force: options.Force = False,
    no_cache: options.NoCache = False,
    strict: options.Strict = False,
    jobs: options.Jobs = None,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Export a model to ONNX and TFLite, measure every stage, and write a bundle with its ledger.

    Exit code 1 if a rewrite's proof or a stage's parity failed, or a TFLite file could not be made: the others are
    written, but for --strict. With --strict it is 1 also where a stage is unjudged, and with --target where one of
    these does not run all of a file that it reads.

    Examples: `mobilekit export ghostnetv2` · `mobilekit export ghostnet --precision float32,int8 -o out` ·
    `mobilekit export timm:mobilenetv3_large_100` · `mobilekit export ghostnetv2 --target cpu,gpu` ·
    `mobilekit export nets/mine.py:make --weights mine.pth --input-size 256x192 --mean 0.5 --std 0.5 --calibration
    photos --inputs test`
    """
    rewritten = _is_on(rewrites)
    weights = _pretrained(weights) if pretrained else weights
    from mobilekit.jobs.adjust import adjust
    from mobilekit.jobs.export import export as run
    from mobilekit.jobs.export import find_exported
    from mobilekit.jobs.request import ExportRequest
    from mobilekit.jobs.source import Source, choose_recipe
    from mobilekit.models.names import folder_name
    from mobilekit.recipes.inputs.labeled import read_labels
    from mobilekit.targets.catalogue import target_words

    base = choose_recipe(model, recipe, weights)
    picture = {
        "color": color,
        "mean": split_numbers(mean, "--mean"),
        "std": split_numbers(std, "--std"),
        "dtype": input_dtype,
        "frame": split_frame(input_from),
        "batch": batch,
        "crop": crop,
        "resize": split_words(resize),
        "channels": channels,
    }
    size, names = split_size(input_size), read_labels(labels) if labels else None
    words, targets = split_words(precision), target_words(target) if target is not None else None
    loaded = adjust(base, size, num_classes, words, rewritten, picture, names, max_top1_drop, targets)
    place = output or Path("artifacts") / folder_name(model)
    request = ExportRequest(Source(model, loaded, weights, calibration, inputs), place, force, strict, jobs)
    cache = NoCache() if no_cache else Cache.default()
    exported = find_exported(request, cache)
    if exported is None:
        with working(f"exporting {model}") as tell:
            exported = run(request, cache, tell, lambda given: _tell(model, given))
    result = _result(exported)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, exported.bundle.manifest, verbose)
    if result.verdict == "fail" or (strict and result.verdict != "pass"):
        raise typer.Exit(1)


def _tell(model: str, given: tuple[Given, ...]) -> None:
    """Say as work starts what the export of a model without a recipe of ours is given, and what it assumes."""
    from mobilekit.cli.render.given import given_block
    from mobilekit.models.names import is_registered

    if not is_registered(model):
        for line in given_block(model, given):
            err.print(line)


def _pretrained(weights: Path | None) -> Path:
    from mobilekit.models.names import PRETRAINED

    if weights not in (None, PRETRAINED):
        raise UsageError(f"--weights {weights} and --pretrained are two sets of weights.", "Leave one out.")
    return PRETRAINED


def _is_on(word: str) -> bool:
    if word not in ("on", "off"):
        raise UsageError(f"--rewrites is {word}, not on or off.")
    return word == "on"


def _result(exported: Exported) -> ExportResult:
    from mobilekit.cli.findings import findings_of
    from mobilekit.cli.results import ExportResult
    from mobilekit.parity.ledger.result import ledger_of
    from mobilekit.store.bundle import sizes
    from mobilekit.store.manifest import Weights

    bundle, ledger = exported.bundle, ledger_of(exported.bundle)
    return ExportResult(
        bundle=str(bundle.path),
        up_to_date=exported.up_to_date,
        from_cache=exported.from_cache,
        weights=Weights.from_json(bundle.manifest["model"]["weights"]),
        files=sizes(bundle.path),
        ledger=ledger,
        findings=findings_of(ledger),
        verdict=ledger.verdict,
    )


def _print(result: ExportResult, manifest: dict[str, Any], verbose: bool) -> None:
    from mobilekit.cli.render.export import export_report

    for part in export_report(result, manifest, verbose):
        out.print(part)
