"""`mobilekit doctor`: is everything there?"""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from mobilekit.cli import options
from mobilekit.cli.output import out, print_json

_STYLES = {"ok": "green", "missing": "bold red", "differs": "yellow"}


def doctor(as_json: options.Json = False) -> None:
    """Look for all that mobilekit needs, and say what a missing piece costs and how to get it.

    Exit code 1 if something is missing, or of another version, without which mobilekit does not work as tested.

    Example: `mobilekit doctor`
    """
    from mobilekit.artifacts.analysis.runtime_faults import installed_faults
    from mobilekit.jobs.doctor import examine

    checks, faults = examine(), installed_faults()
    bad = any(check.needed and check.state != "ok" for check in checks)
    if as_json:
        print_json(
            {
                "verdict": "fail" if bad else "pass",
                "checks": [check.to_json() for check in checks],
                "runtime_faults": [{"version": version, **fault.to_json()} for version, fault in faults],
            }
        )
    else:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for column in ("piece", "", "found"):
            table.add_column(column)
        for check in checks:
            table.add_row(check.name, Text(check.state, style=_STYLES[check.state]), check.found)
        out.print(table)
        for check in checks:
            if check.state != "ok":
                out.print(f"{check.name}: {check.cost}. Fix: {check.fix}")
        for version, fault in faults:
            out.print(
                f"known fault of {fault.runtime} {version}: {fault.op} ({fault.form}): {fault.text}.", markup=False
            )
    if bad:
        raise typer.Exit(1)
