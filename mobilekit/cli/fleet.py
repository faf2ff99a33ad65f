"""`mobilekit bench --fleet`: a bench on whichever phone of a fleet is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.cli.output import err
from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from mobilekit.bench.bench import BenchRequest
    from mobilekit.bench.fleet.pick import Taken
    from mobilekit.bench.result import BenchResult

_OF_FLEET = ("label", "serial")


def check_fleet(fleet: Path | None, device: str, *, record: bool, adb_server: bool) -> None:
    """See that the options of a fleet go together.

    Raises:
        UsageError: They do not.
    """
    is_meant = device.partition(":")[0] in _OF_FLEET
    if fleet is None:
        if is_meant:
            raise UsageError(f"--device {device} is a phone of a fleet.", "Add --fleet FILE, or name adb:SERIAL.")
        return
    if not is_meant:
        raise UsageError(f"--device {device} is no phone of a fleet.", "Write label:LABEL or serial:SERIAL.")
    for option, is_given in (("--record", record), ("--adb-server", adb_server)):
        if is_given:
            raise UsageError(f"{option} is not for a fleet, whose file says where its phones are.", "Leave it out.")


def bench_in_fleet(fleet: Path, word: str, request: BenchRequest, tell: Callable[[str], None]) -> BenchResult:
    """Run a bench on the first phone that nobody else uses; see `mobilekit.bench.fleet.pick.on_phone`.

    Raises:
        DeviceError: No phone can be used, or it was lost.
        UsageError: The fleet's file is wrong, or has no such phone.
    """
    from mobilekit.bench.bench import bench
    from mobilekit.bench.fleet.load import load_fleet
    from mobilekit.bench.fleet.pick import on_phone

    def run(taken: Taken) -> BenchResult:
        result = bench(taken.device, request, lambda message: tell(f"{taken.name}: {message}"), taken.check)
        return replace(result, notes=(*result.notes, f"The phone is {taken.name}."))

    return on_phone(load_fleet(fleet), word, run, tell, lambda text: err.print(f"warning: {text}"))
