"""`mobilekit diff`: measure every stage of a bundle, or an artifact that was made elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli import complete, options
from mobilekit.cli.bundles import measure_bundle
from mobilekit.cli.candidates import measure_candidate
from mobilekit.cli.diff_request import DiffRequest
from mobilekit.cli.output import check_outputs, out, print_json

if TYPE_CHECKING:
    from mobilekit.cli.results import DiffResult


def diff(
    bundle: Annotated[Path | None, typer.Argument(help="Folder that `mobilekit export` made.")] = None,
    inputs: options.Inputs = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="The model's FILE.py:FACTORY, for a bundle that was exported from one. With --candidate: a registered "
            "model, timm:NAME, FILE.py:FACTORY, or an .onnx file."
        ),
    ] = None,
    candidate: Annotated[
        Path | None, typer.Option(help="An .onnx, .tflite or .pte file that was made elsewhere.")
    ] = None,
    weights: options.CandidateWeights = None,
    recipe: options.CandidateRecipe = None,
    bisect: Annotated[
        Path | None, typer.Option(help="Cut out what is at fault, and write it to this folder with a script.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Run the files elsewhere as well: `emulated` (ARM), `gpu`, `qnn:SM8650`, `adb`, or `adb:SERIAL`.",
            autocompletion=complete.diff_devices,
        ),
    ] = None,
    benchmark_binary: options.DeviceBenchmarkBinary = None,
    app: Annotated[
        str | None,
        typer.Option(
            help="Make inputs as apps do: android, browser, mediapipe, opencv, tf, mistakes, or `all` of these.",
            autocompletion=complete.apps,
        ),
    ] = None,
    layers: options.Layers = False,
    plot: Annotated[Path | None, typer.Option(help="With --layers: draw error over depth, .png or .svg.")] = None,
    calibration: options.DiffCalibration = None,
    precision: options.LayersPrecisions = None,
    baseline: Annotated[
        Path | None, typer.Option(help="ledger.json of an earlier bundle: fail if any stage got worse since.")
    ] = None,
    junit: options.Junit = None,
    markdown: options.Markdown = None,
    sarif: options.Sarif = None,
    strict: options.StrictDiff = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    With --candidate, measure an artifact that was made elsewhere. With --layers, look inside. With --bisect, name the
    module at fault, and cut it out. With --app, begin at the picture, which other software
    scales. Exit code 1 if anything is outside its limit, or worse than in the baseline by more than the error of its
    format.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json` ·
    `mobilekit diff artifacts/ghostnetv2 --junit parity.xml --markdown $GITHUB_STEP_SUMMARY` ·
    `mobilekit diff artifacts/ghostnetv2 --baseline main/ledger.json --sarif parity.sarif` ·
    `mobilekit diff artifacts/ghostnetv2 --layers --precision float32,int8 --plot layers.png` ·
    `mobilekit diff artifacts/ghostnetv2 --device emulated` · `mobilekit diff artifacts/ghostnetv2 --device gpu` ·
    `mobilekit diff artifacts/ghostnetv2 --app all --inputs photos` ·
    `mobilekit diff --reference timm:resnet18 --weights w.safetensors --candidate their.tflite --bisect fault` ·
    `mobilekit diff --reference their.onnx --candidate their.tflite`
    """
    request = DiffRequest(
        bundle=bundle,
        candidate=candidate,
        reference=reference,
        inputs=inputs,
        bisect=bisect,
        weights=weights,
        recipe=recipe,
        device=device,
        benchmark_binary=benchmark_binary,
        app=app,
        layers=layers,
        plot=plot,
        calibration=calibration,
        precision=precision,
    )
    request.check()
    from mobilekit.parity.baseline import against_baseline, load_ledger

    kept = load_ledger(baseline) if baseline else None
    _check_targets(request, junit, markdown, sarif)
    result = measure_bundle(request) if bundle else measure_candidate(request)
    if kept:
        result = replace(result, baseline=against_baseline(result, kept))
    _write_reports(result, request.measured, junit, markdown, sarif, plot)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, str(request.measured), verbose)
    if not result.is_good or (strict and result.verdict != "pass"):
        raise typer.Exit(1)


def _check_targets(request: DiffRequest, *reports: Path | None) -> None:
    """See before the work that what comes of it can be written."""
    from mobilekit.cli.render.plots import check_place
    from mobilekit.jobs.bisect import check_free

    reference = Path(request.reference) if request.reference else None
    check_outputs((*reports, request.bisect, request.plot), (request.candidate, reference, request.weights))
    if request.bisect:
        check_free(request.bisect)
    if request.plot:
        check_place(request.plot)


def _write_reports(
    result: DiffResult,
    measured: Path,
    junit: Path | None,
    markdown: Path | None,
    sarif: Path | None,
    plot: Path | None,
) -> None:
    from mobilekit.cli.render.layers_chart import draw_layers
    from mobilekit.cli.render.ledger_junit import diff_junit
    from mobilekit.cli.render.ledger_markdown import diff_markdown
    from mobilekit.cli.render.sarif import findings_sarif
    from mobilekit.store.files import write_atomic

    name = measured.resolve().name
    if junit:
        write_atomic(junit, diff_junit(result, name))
    if markdown:
        write_atomic(markdown, diff_markdown(result, name))
    if sarif:
        write_atomic(sarif, findings_sarif(result.findings, measured))
    if plot and result.layers:
        draw_layers(result.layers, plot, name)


def _print(result: DiffResult, name: str, verbose: bool) -> None:
    from mobilekit.cli.render.diff import diff_report

    for part in diff_report(result, name, verbose):
        out.print(part)
