"""`mobilekit worker`: this machine and its phones, for the sweeps of a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.output import err


def worker(
    address: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="Of a dask scheduler.")],
    phones: Annotated[
        str, typer.Option(metavar="SERIALS|all", help="Phones that run benches, at this machine or of --fleet.")
    ] = "",
    fleet: options.Fleet = None,
    slots: Annotated[
        int | None,
        typer.Option(min=0, max=1024, help="Steps that work on the cores at once; as cores and memory allow without."),
    ] = None,
) -> None:
    """Work for the sweeps of a dask cluster, with this machine's cores and the phones that are plugged in here.

    A phone runs one bench at a time, and benches wait for a phone and not for a core. With --fleet, phones are those
    of that file, wherever they are. It ends with the scheduler. Who reaches the scheduler can run code here.

    Examples: `mobilekit worker tcp://host:8786` · `mobilekit worker tcp://host:8786 --phones all --slots 0` ·
    `mobilekit worker tcp://host:8786 --phones all --fleet fleet.yaml`
    """
    from mobilekit.bench.fleet.load import load_fleet
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.worker import find_phones, fleet_phones, serve

    check_installed()
    found = find_phones(phones) if fleet is None else fleet_phones(phones, load_fleet(fleet))
    serve(address, found, slots, lambda announced: err.print(f"at work for {address}: {announced}"))
