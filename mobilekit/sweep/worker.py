"""A worker for a sweep on a cluster: the cores of its machine, and the phones that are plugged in there."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from mobilekit.bench.devices.discovery import list_devices
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
    chosen = [each for word in words for each in choose(word, found)]
    return [Phone(each.serial, each.description) for each in chosen]


def resources_of(phones: Sequence[Phone], steps: int) -> dict[str, float]:
    """Return what a worker announces: room for steps on its cores, each phone, and how many it has of each model."""
    models = Counter(phone.model for phone in phones if phone.model)
    return {
        STEP: float(steps),
        **{f"{PHONE}{phone.serial}": 1.0 for phone in phones},
        **{f"{PHONE}{model}": float(number) for model, number in models.items()},
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
