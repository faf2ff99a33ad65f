"""`mobilekit report`: a bundle as one page of HTML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.diff_request import refuse_without_layers
from mobilekit.cli.layers import look_inside
from mobilekit.cli.output import check_place, fail, out, print_json, working
from mobilekit.store.bundle import find_changes, open_bundle


def report(
    bundle: options.BundleFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write, .html.")],
    layers: options.Layers = False,
    inputs: options.LayersInputs = None,
    reference: options.LayersReference = None,
    calibration: options.LayersCalibration = None,
    precision: options.LayersPrecisions = None,
    as_json: options.Json = False,
) -> None:
    """Write what a bundle is, and what was measured at its export, as one page that needs nothing else.

    Exit code 1 if a file is not what the manifest says; the page is written, and says so too.

    Examples: `mobilekit report artifacts/ghostnetv2 -o ghostnetv2.html` ·
    `mobilekit report artifacts/ghostnetv2 --layers --precision float32,int8 -o ghostnetv2.html`
    """
    check_place(output, (".html", ".htm"), "The report is a page of HTML.")
    if not layers:
        refuse_without_layers(inputs=inputs, reference=reference, calibration=calibration, precision=precision)
    from mobilekit.cli.results import result_of
    from mobilekit.parity.ledger.result import ledger_of

    opened = open_bundle(bundle)
    result, changes = result_of(ledger_of(opened)), find_changes(bundle)
    if layers:
        with working("opening the bundle") as tell:
            inside = look_inside(opened, inputs, reference, calibration, precision, tell)
        result = replace(result, layers=inside)
    from mobilekit.cli.render.html import bundle_html
    from mobilekit.store.files import write_atomic

    sizes = {str(path.relative_to(bundle)): path.stat().st_size for path in bundle.rglob("*") if path.is_file()}
    write_atomic(output, bundle_html(bundle.resolve().name, opened.manifest, result, sizes, changes))
    if as_json:
        print_json({"bundle": str(bundle), "report": str(output), "verdict": result.verdict, "changes": changes})
    else:
        out.print(f"{output} is written: {bundle}, verdict {result.verdict}.")
    if changes:
        fail(f"{bundle} is not as it was exported: {'; '.join(changes)}.", "Export it again.")
        raise typer.Exit(1)
