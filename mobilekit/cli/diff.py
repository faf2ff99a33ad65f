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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    Exit code 1 if any stage is outside its limit.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json` ·
    `mobilekit diff artifacts/ghostnetv2 --junit parity.xml --markdown $GITHUB_STEP_SUMMARY`
    """
    opened = open_bundle(bundle)
    for change in find_changes(bundle):
        err.print(f"warning: {change}; the bundle is measured as it is.", markup=False)
    import torch

    from mobilekit.differ import diff as measure
    from mobilekit.files import write_atomic
    from mobilekit.report.junit import diff_junit
    from mobilekit.report.markdown import diff_markdown
    from mobilekit.report.terminal import ledger_table

    torch.set_num_threads(1)
    with progress("opening the bundle") as tell:
        ledger = measure(opened, inputs, tell, reference)
    content, name = ledger.to_json(), bundle.resolve().name
    if junit:
        write_atomic(junit, diff_junit(content, name))
    if markdown:
        write_atomic(markdown, diff_markdown(content, name))
    if as_json:
        print_json(content)
    else:
        out.print(ledger_table(content))
    if ledger.verdict != "pass":
        raise typer.Exit(1)
