"""`mobilekit diff`: measure every stage of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.bundle import find_changes, open_bundle
from mobilekit.cli.output import err, out, print_json, progress


def diff(
    bundle: Annotated[Path, typer.Argument(help="Folder that `mobilekit export` made.")],
    inputs: Annotated[
        Path | None, typer.Option(help="Folder of pictures, or .npz with arrays by input names, perhaps `labels`.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="The model's FILE.py:FACTORY, for a bundle that was exported from one.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit file: a test for each comparison.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary as Markdown, as CI jobs show it.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Run the TFLite files on ARM as well: `emulated`, `adb`, or `adb:SERIAL`.")
    ] = None,
    benchmark_binary: Annotated[
        str | None, typer.Option(help="For --device adb: path of a benchmark_model, or a version to download.")
    ] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write SARIF 2.1.0: a result for each failed comparison.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="ledger.json of an earlier bundle: fail if any stage got worse since.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    Exit code 1 if any stage is outside its limit, or worse than in the baseline by more than the noise of its format.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json` ·
    `mobilekit diff artifacts/ghostnetv2 --junit parity.xml --markdown $GITHUB_STEP_SUMMARY` ·
    `mobilekit diff artifacts/ghostnetv2 --baseline main/ledger.json --sarif parity.sarif` ·
    `mobilekit diff artifacts/ghostnetv2 --device emulated`
    """
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
    from mobilekit.report.markdown import diff_markdown
    from mobilekit.report.sarif import diff_sarif
    from mobilekit.report.terminal import ledger_table

    kept = load_ledger(baseline) if baseline else None
    torch.set_num_threads(1)
    with progress("opening the bundle") as tell, open_device(device, benchmark_binary) as opener:
        ledger = measure(opened, inputs, tell, reference, opener)
    content, name = ledger.to_json(), bundle.resolve().name
    if kept:
        content["baseline"] = against_baseline(content, kept).to_json()
    if junit:
        write_atomic(junit, diff_junit(content, name))
    if markdown:
        write_atomic(markdown, diff_markdown(content, name))
    if sarif:
        write_atomic(sarif, diff_sarif(content, bundle))
    if as_json:
        print_json(content)
    else:
        out.print(ledger_table(content))
        for line in baseline_lines(content["baseline"]) if kept else ():
            out.print(line, markup=False)
    if ledger.verdict != "pass" or (kept and content["baseline"]["verdict"] != "pass"):
        raise typer.Exit(1)
