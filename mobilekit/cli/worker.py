"""`mobilekit worker`: this machine and its phones, for the sweeps of a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli.output import err


def worker(
    address: Annotated[str, typer.Argument(metavar="tcp://HOST:PORT", help="Of a dask scheduler.")],
    phones: Annotated[
        str, typer.Option(metavar="SERIALS|all", help="Phones at this machine that run benches, separated by commas.")
    ] = "",
    slots: Annotated[
        int | None,
        typer.Option(min=0, max=1024, help="Steps that work on the cores at once; as cores and memory allow without."),
    ] = None,
) -> None:
    """Work for the sweeps of a dask cluster, with this machine's cores and the phones that are plugged in here.

    A phone runs one bench at a time, and benches wait for a phone and not for a core. It ends with the scheduler. Who
    reaches the scheduler can run code here.

    Examples: `mobilekit worker tcp://host:8786` · `mobilekit worker tcp://host:8786 --phones all --slots 0`
    """
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.worker import find_phones, serve

    check_installed()
    serve(address, find_phones(phones), slots, lambda announced: err.print(f"at work for {address}: {announced}"))
