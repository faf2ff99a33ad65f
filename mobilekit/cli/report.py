"""`mobilekit report`: a bundle or a sweep as one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.diff_request import refuse_without_layers
from mobilekit.cli.layers import look_inside
from mobilekit.cli.output import check_place, fail, out, print_json, working
from mobilekit.errors import UsageError


def report(
    bundle_or_sweep: Annotated[
        Path, typer.Argument(metavar="BUNDLE|SWEEP", help="Folder that `mobilekit export` or `sweep run` made.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write, .html.")],
    bench: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RESULT.json", help="What `mobilekit bench --json` printed, times or counts; may be repeated."
        ),
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option(
            metavar="RESULT.json",
            help="Of a bundle: what `mobilekit diff BUNDLE --inputs DIR --json` printed, on your test set.",
        ),
    ] = None,
    no_pages: Annotated[
        bool, typer.Option("--no-pages", help="Of a sweep: its page alone, and none of its bundles.")
    ] = False,
    layers: options.Layers = False,
    inputs: options.LayersInputs = None,
    reference: options.LayersReference = None,
    calibration: options.LayersCalibration = None,
    precision: options.LayersPrecisions = None,
    as_json: options.Json = False,
) -> None:
    """Write what a bundle or a sweep is, and what was measured of it, as one page that needs nothing else.

    The page of a sweep links to one of each bundle, in a folder beside it: `sweep.html` has `sweep_pages`. Exit code 1
    if a file of a bundle is not what the manifest says; the page is written, and says so too.

    Examples: `mobilekit report artifacts/ghostnetv2 -o ghostnetv2.html` ·
    `mobilekit report artifacts/ghostnetv2 --bench bench.json --bench counts.json --diff mine.json -o ghostnetv2.html` ·
    `mobilekit report artifacts/ghostnetv2 --layers --precision float32,int8 -o ghostnetv2.html` ·
    `mobilekit report sweep -o sweep.html`
    """
    check_place(output, (".html", ".htm"), "The report is a page of HTML.")
    if not layers:
        refuse_without_layers(inputs=inputs, reference=reference, calibration=calibration, precision=precision)
    results = list(bench or ())
    if (bundle_or_sweep / "sweep.json").is_file():
        if layers or diff:
            raise UsageError("--layers and --diff are about one bundle.", f"Name one in {bundle_or_sweep}/bundles.")
        _report_sweep(bundle_or_sweep, output, results, not no_pages, as_json)
        return
    if no_pages:
        raise UsageError("--no-pages is about sweeps.", "Leave it out.")
    from mobilekit.cli.bench_results import read_about
    from mobilekit.cli.report_pages import page_of, read_diff
    from mobilekit.store.bundle import open_bundle
    from mobilekit.store.files import write_atomic

    opened = open_bundle(bundle_or_sweep)
    tested = read_diff(diff, opened) if diff else None
    benches = read_about(results, opened.manifest["files"].values(), bundle_or_sweep)
    inside = None
    if layers:
        with working("opening the bundle") as tell:
            inside = look_inside(opened, inputs, reference, calibration, precision, tell)
    page = page_of(opened, benches, tested=tested, layers=inside)
    write_atomic(output, page.html)
    if as_json:
        content = {"bundle": str(bundle_or_sweep), "report": str(output), "verdict": page.verdict}
        print_json({**content, "changes": page.changes, **({"diff": tested.verdict} if tested else {})})
    else:
        beside = f", {tested.verdict} on {tested.inputs.real}" if tested else ""
        out.print(f"{output} is written: {bundle_or_sweep}, verdict {page.words}{beside}.")
    _end({bundle_or_sweep: page.changes})


def _report_sweep(sweep: Path, output: Path, results: list[Path], with_pages: bool, as_json: bool) -> None:
    from mobilekit.cli.render.format import count
    from mobilekit.cli.report_pages import write_sweep

    written = write_sweep(sweep, output, results, with_pages)
    if as_json:
        print_json(written.to_json())
    else:
        beside = f", and the pages of {count(len(written.pages), 'bundle')} beside it" if written.pages else ""
        out.print(f"{output} is written{beside}: {sweep}, {count(written.rows, 'row')}, {written.failed} failed.")
    _end(written.changed)


def _end(changed: Mapping[Path, list[str]]) -> None:
    """Say which bundles are not as they were exported, and end with 1 where one is not."""
    for bundle, changes in changed.items():
        if changes:
            fail(f"{bundle} is not as it was exported: {'; '.join(changes)}.", "Export it again.")
    if any(changed.values()):
        raise typer.Exit(1)
