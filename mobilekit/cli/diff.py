"""`mobilekit diff`: measure every stage of a bundle, or an artifact that was made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mobilekit.cli.candidates import bisect_bundle, check_request, measure_candidate
from mobilekit.cli.layers import CalibrationOption, PrecisionOption, look_inside, refuse_without_layers
from mobilekit.cli.output import err, out, print_json, progress
from mobilekit.store.bundle import find_changes, open_bundle


def diff(
    bundle: Annotated[Path | None, typer.Argument(help="Folder that `mobilekit export` made.")] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures, or of a folder for each class; CSV of files and labels; or .npz with arrays by "
            "input names, perhaps `labels`."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="The model's FILE.py:FACTORY, for a bundle that was exported from one. With --candidate: a registered "
            "model, timm:NAME, FILE.py:FACTORY, or an .onnx file."
        ),
    ] = None,
    candidate: Annotated[Path | None, typer.Option(help="An .onnx or .tflite file that was made elsewhere.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The reference's checkpoint, with --candidate.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe that describes the reference's inputs, with --candidate.")
    ] = None,
    bisect: Annotated[
        Path | None, typer.Option(help="Cut out what is at fault, and write it to this folder with a script.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Run the TFLite files on ARM as well: `emulated`, `adb`, or `adb:SERIAL`.")
    ] = None,
    benchmark_binary: Annotated[
        str | None, typer.Option(help="For --device adb: path of a benchmark_model, or a version to download.")
    ] = None,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Look inside too: convert a tapped copy, and compare every module's values."),
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="With --layers: draw error over depth, .png or .svg.")] = None,
    calibration: CalibrationOption = None,
    precision: PrecisionOption = None,
    baseline: Annotated[
        Path | None, typer.Option(help="ledger.json of an earlier bundle: fail if any stage got worse since.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit file: a test for each comparison.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary as Markdown, as CI jobs show it.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write SARIF 2.1.0: a result for each failed comparison.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    With --candidate, measure an artifact that was made elsewhere. With --layers, look inside. With --bisect, name the
    module at fault, and cut it out. Exit code 1 if anything is outside its limit, or worse than in the baseline by more
    than the noise of its format.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json` ·
    `mobilekit diff artifacts/ghostnetv2 --junit parity.xml --markdown $GITHUB_STEP_SUMMARY` ·
    `mobilekit diff artifacts/ghostnetv2 --baseline main/ledger.json --sarif parity.sarif` ·
    `mobilekit diff artifacts/ghostnetv2 --layers --precision float32,int8 --plot layers.png` ·
    `mobilekit diff artifacts/ghostnetv2 --device emulated` ·
    `mobilekit diff --reference timm:resnet18 --weights w.safetensors --candidate their.tflite --bisect fault` ·
    `mobilekit diff --reference their.onnx --candidate their.tflite`
    """
    check_request(
        bundle,
        reference,
        candidate,
        for_candidates={"--weights": weights, "--recipe": recipe},
        for_bundles={"--layers": layers or None, "--device": device, "--benchmark-binary": benchmark_binary},
    )
    if not layers:
        refuse_without_layers(plot=plot, calibration=calibration, precision=precision)
    import torch

    from mobilekit.cli.render.layers_chart import check_place
    from mobilekit.jobs.bisect import check_free
    from mobilekit.parity.ledger.baseline import against_baseline, load_ledger

    kept = load_ledger(baseline) if baseline else None
    if bisect:
        check_free(bisect)
    if plot:
        check_place(plot)
    torch.set_num_threads(1)
    if bundle:
        inside = (calibration, precision) if layers else None
        content = _measure_bundle(bundle, inputs, reference, bisect, (device, benchmark_binary), inside)
    else:
        assert candidate is not None
        assert reference is not None
        content = measure_candidate(candidate, reference, weights, recipe, inputs, bisect)
    if kept:
        content["baseline"] = against_baseline(content, kept).to_json()
    _write_reports(content, bundle or candidate, junit, markdown, sarif, plot)
    if as_json:
        print_json(content)
    else:
        _print(content, is_bisected=bisect is not None)
    if content["verdict"] != "pass" or (kept and content["baseline"]["verdict"] != "pass"):
        raise typer.Exit(1)


def _measure_bundle(
    path: Path,
    inputs: Path | None,
    reference: str | None,
    bisect: Path | None,
    device: tuple[str | None, str | None],
    inside: tuple[Path | None, str | None] | None,
) -> dict[str, Any]:
    """Return a bundle's ledger as JSON data, with `layers` and `bisect` where these are asked for."""
    from mobilekit.jobs.diff import diff as measure
    from mobilekit.jobs.on_device import open_device

    bundle = open_bundle(path)
    for change in find_changes(path):
        err.print(f"warning: {change}; the bundle is measured as it is.", markup=False)
    with progress("opening the bundle") as tell, open_device(*device) as opener:
        found = look_inside(bundle, inputs, reference, *inside, tell) if inside else None
        ledger = measure(bundle, inputs, tell, reference, opener)
        content = ledger.to_json()
        if found:
            content["layers"] = found
        if bisect:
            fault = bisect_bundle(bisect, bundle, ledger, inputs, reference, tell)
            content["bisect"] = fault.to_json() if fault else None
    return content


def _write_reports(
    content: dict[str, Any],
    measured: Path | None,
    junit: Path | None,
    markdown: Path | None,
    sarif: Path | None,
    plot: Path | None,
) -> None:
    from mobilekit.cli.render.junit import diff_junit
    from mobilekit.cli.render.layers_chart import draw_layers
    from mobilekit.cli.render.markdown import diff_markdown
    from mobilekit.cli.render.sarif import diff_sarif
    from mobilekit.store.files import write_atomic

    assert measured is not None
    name = measured.resolve().name
    if junit:
        write_atomic(junit, diff_junit(content, name))
    if markdown:
        write_atomic(markdown, diff_markdown(content, name))
    if sarif:
        write_atomic(sarif, diff_sarif(content, measured))
    if plot:
        draw_layers(content["layers"], plot, name)


def _print(content: dict[str, Any], is_bisected: bool) -> None:
    from mobilekit.cli.render.baseline import baseline_lines
    from mobilekit.cli.render.fault import fault_lines
    from mobilekit.cli.render.layers import layers_table
    from mobilekit.cli.render.terminal import ledger_table

    out.print(ledger_table(content))
    for line in baseline_lines(content["baseline"]) if "baseline" in content else ():
        out.print(line, markup=False)
    if "layers" in content:
        out.print(layers_table(content["layers"]))
    for line in fault_lines(content["bisect"]) if content.get("bisect") else ():
        out.print(line, markup=False)
    if is_bisected and not content["bisect"]:
        out.print("Nothing is outside its limit, so there is nothing to bisect.")
    if not is_bisected and content["verdict"] != "pass":
        err.print("Add --bisect DIR to find the module at fault, and to cut it out.")
