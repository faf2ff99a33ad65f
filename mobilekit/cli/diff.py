"""`mobilekit diff`: measure every stage of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.bundle import find_changes, open_bundle
from mobilekit.cli.layers import look_inside, refuse_without_layers
from mobilekit.cli.output import err, out, print_json, progress


def diff(
    bundle: Annotated[Path, typer.Argument(help="Folder that `mobilekit export` made.")],
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures, or of a folder for each class; CSV of files and labels; or .npz with arrays by "
            "input names, perhaps `labels`."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="The model's FILE.py:FACTORY, for a bundle that was exported from one.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit file: a test for each comparison.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary as Markdown, as CI jobs show it.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Run the TFLite files on ARM as well: `emulated`, `adb`, or `adb:SERIAL`.")
    ] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write SARIF 2.1.0: a result for each failed comparison.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="ledger.json of an earlier bundle: fail if any stage got worse since.")
    ] = None,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Look inside too: convert a tapped copy, and compare every module's values."),
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="With --layers: draw error over depth, .png or .svg.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="With --layers: what int8 was calibrated on, if not built-in data.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="With --layers: of float32,float16,dynamic,int8; all of the bundle's without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    Exit code 1 if any stage is outside its limit, or worse than in the baseline by more than the noise of its format.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json` ·
    `mobilekit diff artifacts/ghostnetv2 --junit parity.xml --markdown $GITHUB_STEP_SUMMARY` ·
    `mobilekit diff artifacts/ghostnetv2 --baseline main/ledger.json --sarif parity.sarif` ·
    `mobilekit diff artifacts/ghostnetv2 --device emulated` ·
    `mobilekit diff artifacts/ghostnetv2 --layers --precision float32,int8 --plot layers.png`
    """
    if not layers:
        refuse_without_layers(plot=plot, calibration=calibration, precision=precision)
    opened = open_bundle(bundle)
    for change in find_changes(bundle):
        err.print(f"warning: {change}; the bundle is measured as it is.", markup=False)
    import torch

    from mobilekit.differ import diff as measure
    from mobilekit.files import write_atomic
    from mobilekit.on_device import open_device
    from mobilekit.parity.baseline import against_baseline, load_ledger
    from mobilekit.report.baseline import baseline_lines
    from mobilekit.report.junit import diff_junit
    from mobilekit.report.layers import layers_table
    from mobilekit.report.layers_chart import check_place, draw_layers
    from mobilekit.report.markdown import diff_markdown
    from mobilekit.report.sarif import diff_sarif
    from mobilekit.report.terminal import ledger_table

    kept = load_ledger(baseline) if baseline else None
    torch.set_num_threads(1)
    if plot:
        check_place(plot)
    with progress("opening the bundle") as tell, open_device(device) as opener:
        inside = look_inside(opened, inputs, reference, calibration, precision, tell) if layers else None
        ledger = measure(opened, inputs, tell, reference, opener)
    content, name = ledger.to_json(), bundle.resolve().name
    if inside:
        content["layers"] = inside
    if kept:
        content["baseline"] = against_baseline(content, kept).to_json()
    if junit:
        write_atomic(junit, diff_junit(content, name))
    if markdown:
        write_atomic(markdown, diff_markdown(content, name))
    if sarif:
        write_atomic(sarif, diff_sarif(content, bundle))
    if plot and inside:
        draw_layers(inside, plot, name)
    if as_json:
        print_json(content)
    else:
        out.print(ledger_table(content))
        for line in baseline_lines(content["baseline"]) if kept else ():
            out.print(line, markup=False)
        if inside:
            out.print(layers_table(inside))
    if ledger.verdict != "pass" or (kept and content["baseline"]["verdict"] != "pass"):
        raise typer.Exit(1)
