"""`mobilekit verify`: is a bundle what its manifest says?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.bundle import find_changes, open_bundle
from mobilekit.cli.output import fail, out, print_json
from mobilekit.errors import UsageError


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder that `mobilekit export` made.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every byte of a bundle against its manifest. Exit code 1 if anything changed.

    Example: `mobilekit verify artifacts/ghostnetv2`
    """
    if not bundle.is_dir():
        raise UsageError(f"There is no folder {bundle}.", "`mobilekit export MODEL` makes a bundle.")
    changes = find_changes(bundle)
    if not changes:
        count = len(open_bundle(bundle).manifest["files"])
    if as_json:
        print_json({"bundle": str(bundle), "verdict": "fail" if changes else "pass", "changes": changes})
    elif changes:
        fail(f"{bundle} is not as it was exported: {'; '.join(changes)}.", "Export it again.")
    else:
        out.print(f"{bundle} is as it was exported: {count} files agree with the manifest.", markup=False)
    if changes:
        raise typer.Exit(1)
