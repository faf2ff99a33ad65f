"""A worker for a sweep on a cluster: the cores of its machine, and the phones that are plugged in there."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from mobilekit.bench.devices.discovery import list_devices
from mobilekit.bench.fleet.load import LoadedFleet
from mobilekit.errors import ToolError, first_line
from mobilekit.sweep.cluster import PHONE, STEP, be_quiet, check_address, check_installed, workers_here

ALL = "all"
_CONNECT_SECONDS = 30


@dataclass(frozen=True)
class Phone:
    """A phone that adb sees and that can be used."""

    serial: str
    model: str
    """As it calls itself; empty where adb does not know."""
    labels: tuple[str, ...] = ()
    """Of a fleet."""


def find_phones(listed: str) -> list[Phone]:
    """Return phones by their serial numbers with commas between them, `all` that are ready, or none for nothing.

    A phone that adb lists under several names has the one of its cable.

    Raises:
        DeviceError: One is not there or not ready, or no adb server answers.
    """
    words = [word.strip() for word in listed.split(",") if word.strip()]
    if not words:
        return []
    from mobilekit.bench.devices.adb_address import server_address
    from mobilekit.bench.devices.identity import one_name_each
    from mobilekit.bench.devices.select import ask_identity, choose

    found = list_devices()
    if words == [ALL]:
        address = server_address(None)
        found, _notes = one_name_each(found, lambda each: ask_identity(address, each.serial))
    chosen = [each for word in words for each in choose(word, found, without="")]
    return [Phone(each.serial, each.description) for each in chosen]


def fleet_phones(listed: str, fleet: LoadedFleet) -> list[Phone]:
    """Return phones of a fleet by their serial numbers with commas between them, or `all`.

    Whether they are there is asked by the bench that takes one.

    Raises:
        UsageError: The fleet has no such phone.
    """
    words = [word.strip() for word in listed.split(",") if word.strip()]
    members = fleet.members if words == [ALL] else [each for word in words for each in fleet.named(f"serial:{word}")]
    return [Phone(each.serial, "", each.labels) for each in members]


def resources_of(phones: Sequence[Phone], steps: int) -> dict[str, float]:
    """Return what a worker announces: room for steps on its cores, each phone, and how many have each name."""
    names = Counter(name for phone in phones for name in (phone.model, *phone.labels) if name)
    return {
        STEP: float(steps),
        **{f"{PHONE}{phone.serial}": 1.0 for phone in phones},
        **{f"{PHONE}{name}": float(number) for name, number in names.items()},
    }


def serve(scheduler: str, phones: Sequence[Phone], steps: int | None, ready: Callable[[str], None]) -> None:
    """Work for a scheduler until it is gone, or the process is ended.

    Args:
        scheduler: Its address.
        phones: What is plugged in here; each runs one bench at a time.
        steps: How many steps work on the cores at once; as cores and memory allow without.
        ready: Is told what is announced.

    Raises:
        ToolError: A package is missing, or there is no scheduler.
        UsageError: It is no address.
    """
    check_installed()
    check_address(scheduler)
    be_quiet()
    room = workers_here() if steps is None else steps
    with TemporaryDirectory(prefix="mobilekit-worker-", ignore_cleanup_errors=True) as scratch:
        asyncio.run(_serve(scheduler, resources_of(phones, room), room + len(phones), scratch, ready))


async def _serve(
    scheduler: str, resources: dict[str, float], threads: int, scratch: str, ready: Callable[[str], None]
) -> None:
    from distributed import Nanny

    try:
        nanny = await asyncio.wait_for(
            Nanny(
                scheduler,
                nthreads=threads,
                resources=resources,
                memory_limit=0,
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
            ),
            _CONNECT_SECONDS,
        )
    except (OSError, RuntimeError, TimeoutError) as error:
        why = first_line(error, "it did not answer in time")
        raise ToolError(f"The scheduler {scheduler} does not take this worker: {why}.", "See its log.") from error
    async with nanny:
        ready(", ".join(f"{name} {number:g}" for name, number in resources.items()))
        await nanny.finished()
