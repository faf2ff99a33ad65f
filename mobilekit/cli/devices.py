"""`mobilekit devices`: where artifacts can be timed."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.table import Table

from mobilekit.cli import options
from mobilekit.cli.output import err, out, print_json, progress
from mobilekit.errors import DeviceError

app = typer.Typer(invoke_without_command=True)


@app.callback()
def devices(
    context: typer.Context,
    adb_server: options.AdbServer = None,
    as_json: options.Json = False,
) -> None:
    """List this machine, the devices that adb sees and the emulated one, and say what keeps one from being used.

    Examples: `mobilekit devices` · `mobilekit devices --adb-server bench-host:5037` ·
    `mobilekit devices setup-emulated`
    """
    if context.invoked_subcommand:
        return
    from mobilekit.bench.devices.discovery import list_devices
    from mobilekit.bench.devices.emulator_setup import find_problem
    from mobilekit.bench.devices.select import find_devices

    local = find_devices("local").devices[0].facts
    try:
        found = list_devices(adb_server)
    except DeviceError as error:
        if adb_server:
            raise
        err.print(f"warning: {error}")
        found = []
    problem = find_problem()
    if as_json:
        adb = [{**asdict(each), "ready": each.ready} for each in found]
        print_json({"local": local.to_json(), "adb": adb, "emulated": {"ready": problem is None}})
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("--device", "model", "state"):
        table.add_column(column)
    table.add_row("local", f"{local.model}, {local.abi}, {local.os}", "ready")
    for each in found:
        table.add_row(f"adb:{each.serial}", each.description or "-", "ready" if each.ready else each.state)
    table.add_row("emulated", "arm64-v8a under qemu, for diff alone", "not set up" if problem else "ready")
    out.print(table)
    if problem:
        out.print(str(problem).replace("\n", " "))
    for each in found:
        if not each.ready:
            out.print(f"{each.message} {each.hint}")


@app.command("setup-emulated")
def setup_emulated(as_json: options.Json = False) -> None:
    """Make an ARM userland for `mobilekit diff --device emulated`: Debian's Python, LiteRT and NumPy for ARM.

    Needs qemu-user-static, apt-get and pip, and no root; downloads 35 MB. Run it again after LiteRT changed.

    Example: `mobilekit devices setup-emulated`
    """
    from mobilekit.bench.devices.emulator_setup import set_up, wanted_versions

    with progress("setting up the emulated device") as tell:
        folder = set_up(tell)
    if as_json:
        print_json({"folder": str(folder), "versions": wanted_versions()})
    else:
        versions = ", ".join(f"{name} {version}" for name, version in wanted_versions().items())
        out.print(f"The emulated device is ready in {folder}: {versions}.")
