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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every stage of a bundle against the stage it was made from and against the PyTorch reference.

    Exit code 1 if any stage is outside its limit.

    Examples: `mobilekit diff artifacts/ghostnetv2` · `mobilekit diff artifacts/ghostnetv2 --inputs photos --json`
    """
    opened = open_bundle(bundle)
    for change in find_changes(bundle):
        err.print(f"warning: {change}; the bundle is measured as it is.", markup=False)
    import torch

    from mobilekit.differ import diff as measure
    from mobilekit.report.terminal import ledger_table

    torch.set_num_threads(1)
    with progress("opening the bundle") as tell:
        ledger = measure(opened, inputs, tell, reference)
    content = ledger.to_json()
    if as_json:
        print_json(content)
    else:
        out.print(ledger_table(content))
    if ledger.verdict != "pass":
        raise typer.Exit(1)
