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
    """List this machine, the devices that adb sees, the emulated one and the GPU, and say what keeps one from use.

    Examples: `mobilekit devices` · `mobilekit devices --adb-server bench-host:5037` ·
    `mobilekit devices setup-emulated` · `mobilekit devices setup-gpu`
    """
    if context.invoked_subcommand:
        return
    from mobilekit.bench.devices.adb_address import server_address
    from mobilekit.bench.devices.discovery import list_devices
    from mobilekit.bench.devices.emulator_setup import find_problem
    from mobilekit.bench.devices.identity import one_name_each
    from mobilekit.bench.devices.select import ask_identity, find_devices
    from mobilekit.targets.gpu_setup import find_problem as find_gpu_problem

    local = find_devices("local").devices[0].facts
    try:
        found = list_devices(adb_server)
    except DeviceError as error:
        if adb_server:
            raise
        err.print(f"warning: {error}")
        found = []
    problems = {"emulated": find_problem(), "gpu": find_gpu_problem()}
    if as_json:
        adb = [{**asdict(each), "ready": each.ready} for each in found]
        ready = {name: {"ready": problem is None} for name, problem in problems.items()}
        print_json({"local": local.to_json(), "adb": adb, **ready})
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("--device", "model", "state"):
        table.add_column(column)
    table.add_row("local", f"{local.model}, {local.abi}, {local.os}", "ready")
    for each in found:
        table.add_row(f"adb:{each.serial}", each.description or "-", "ready" if each.ready else each.state)
    kinds = {
        "emulated": "arm64-v8a under qemu, for diff, and to count instructions",
        "gpu": "LiteRT's GPU accelerator, for diff alone",
    }
    for name, problem in problems.items():
        table.add_row(name, kinds[name], "not set up" if problem else "ready")
    out.print(table)
    for problem in problems.values():
        if problem:
            out.print(str(problem).replace("\n", " "))
    for each in found:
        if not each.ready:
            out.print(f"{each.message} {each.hint}")
    for note in one_name_each(found, lambda each: ask_identity(server_address(adb_server), each.serial))[1]:
        out.print(note)


@app.command("setup-emulated")
def setup_emulated(as_json: options.Json = False) -> None:
    """Make an ARM userland for `--device emulated` of diff and bench: Debian's qemu and Python, LiteRT for ARM.

    Needs apt-get, pip and, to count instructions, a C compiler, and no root; downloads 53 MB. Run it again after LiteRT
    or mobilekit changed.

    Example: `mobilekit devices setup-emulated`
    """
    from mobilekit.bench.devices.emulator_setup import find_count_problem, set_up, written

    with progress("setting up the emulated device") as tell:
        folder = set_up(tell)
    made, problem = written() or {}, find_count_problem()
    if as_json:
        print_json({"folder": str(folder), **made, "counts_instructions": problem is None})
        return
    versions = ", ".join(f"{name} {version}" for name, version in {**made["versions"], "qemu": made["qemu"]}.items())
    out.print(f"The emulated device is ready in {folder}: {versions}.")
    if problem:
        err.print(f"warning: {problem}")


@app.command("setup-gpu")
def setup_gpu(as_json: options.Json = False) -> None:
    """Make a GPU for `mobilekit inspect --target gpu` and `mobilekit diff --device gpu`: SwiftShader, from Debian.

    Needs apt-get, and no root; downloads 32 MB. A real GPU needs none of it: name its Vulkan driver in VK_DRIVER_FILES.

    Example: `mobilekit devices setup-gpu`
    """
    from mobilekit.targets.gpu_setup import set_up, written

    with progress("setting up the GPU") as tell:
        folder = set_up(tell)
    if as_json:
        print_json({"folder": str(folder), **written()})
    else:
        made = written()
        out.print(
            f"The GPU is ready in {folder}: SwiftShader of {made['package']} {made['version']}, "
            f"for LiteRT {made['litert']}."
        )
