"""`mobilekit verify`: is a bundle what its manifest says, and does an export give it again?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mobilekit.cli import options
from mobilekit.cli.output import err, fail, out, print_json, working
from mobilekit.errors import UsageError
from mobilekit.store.bundle import Bundle, find_changes, open_bundle


def verify(
    bundle: options.BundleFolder,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Export again, without the cache, and compare each file.")
    ] = False,
    calibration: options.RebuildCalibration = None,
    reference: options.RebuildReference = None,
    as_json: options.Json = False,
) -> None:
    """Check every byte of a bundle against its manifest. Exit code 1 if anything changed.

    With --rebuild, also make its artifacts again from the weights and the recipe in it, and compare them by SHA-256.

    Examples: `mobilekit verify artifacts/ghostnetv2` · `mobilekit verify artifacts/ghostnetv2 --rebuild` ·
    `mobilekit verify artifacts/mine_small --rebuild --calibration photos --reference nets/mine.py:small`
    """
    if not bundle.is_dir():
        raise UsageError(f"There is no folder {bundle}.", "`mobilekit export MODEL` makes a bundle.")
    if not rebuild and (calibration or reference):
        raise UsageError("--calibration and --reference belong to --rebuild.", "Add --rebuild.")
    changes = find_changes(bundle)
    rebuilt = None if changes or not rebuild else _rebuild(open_bundle(bundle), calibration, reference)
    absent = () if changes else open_bundle(bundle).failed_stages
    failed = bool(changes) or (rebuilt is not None and rebuilt["verdict"] != "pass")
    if as_json:
        content: dict[str, Any] = {"bundle": str(bundle), "verdict": "fail" if failed else "pass", "changes": changes}
        content["failed_stages"] = [each.to_json() for each in absent]
        print_json({**content, "rebuild": rebuilt} if rebuild else content)
    elif changes:
        fail(f"{_shown(bundle)} is not as it was exported: {'; '.join(changes)}.", "Export it again.")
        if rebuild:
            err.print("It was not rebuilt: there is nothing left to compare with.")
    else:
        count = len(open_bundle(bundle).manifest["files"])
        out.print(f"{_shown(bundle)} is as it was exported: {count} files agree with the manifest.")
        for each in absent:
            out.print(f"It was exported without {each.stage}: {each.reason}.")
        if rebuilt:
            _print(rebuilt)
    if failed:
        raise typer.Exit(1)


def _shown(bundle: Path) -> str:
    """Return a folder as the user named it, or its name where that was `.` or `..`."""
    return str(bundle) if bundle.name not in ("", "..") else bundle.resolve().name


def _rebuild(bundle: Bundle, calibration: Path | None, reference: str | None) -> dict[str, Any]:
    from mobilekit.jobs.verify import rebuild

    with working("rebuilding") as tell:
        return rebuild(bundle, calibration, reference, tell).to_json()


def _print(rebuilt: dict[str, Any]) -> None:
    files = rebuilt["files"]
    other = [file for file in files if not file["same"]]
    for file in other:
        out.print(f"{file['file']}: {'; '.join(file['differences'])}")
    for name, (before, now) in rebuilt["tools"].items():
        out.print(f"{name}: {before} at the export, {now} now")
    if other:
        fail(f"{len(other)} of {len(files)} files came out differently.")
    else:
        out.print(f"Rebuilt: all {len(files)} files came out the same, byte for byte.")
