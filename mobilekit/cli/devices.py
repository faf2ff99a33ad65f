"""`mobilekit devices`: where artifacts can be timed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from mobilekit.cli.output import err, out, print_json
from mobilekit.errors import DeviceError


def devices(
    adb_server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another adb server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List this machine and the devices that adb sees, and say what keeps one from being used.

    Examples: `mobilekit devices` · `mobilekit devices --adb-server bench-host:5037`
    """
    from mobilekit.devices.discovery import list_devices
    from mobilekit.devices.select import find_devices

    local = find_devices("local").devices[0].facts
    try:
        found = list_devices(adb_server)
    except DeviceError as error:
        if adb_server:
            raise
        err.print(f"warning: {error}", markup=False)
        found = []
    if as_json:
        print_json({"local": local.to_json(), "adb": [{**asdict(each), "ready": each.ready} for each in found]})
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("--device", "model", "state"):
        table.add_column(column)
    table.add_row("local", f"{local.model}, {local.abi}, {local.os}", "ready")
    for each in found:
        table.add_row(f"adb:{each.serial}", each.description or "-", "ready" if each.ready else each.state)
    out.print(table)
    for each in found:
        if not each.ready:
            out.print(f"{each.message} {each.hint}", markup=False)
