"""A phone that is leased from a farm while a block lasts, and given back however that ends.

A process of its own holds the lease, and gives the phone back as soon as the one that asked for it is gone: also where
that was killed. Whatever kills both leaves it to the farm, which takes back a phone that nobody uses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mobilekit.bench.devices.adb_address import server_address
from mobilekit.bench.devices.discovery import ListedDevice, ask_server, list_devices
from mobilekit.bench.devices.lock import DeviceBusyError, locked
from mobilekit.bench.devices.wire import Refused
from mobilekit.bench.fleet.load import Member
from mobilekit.bench.fleet.schema import Farm
from mobilekit.bench.fleet.stf import FarmError, Stf
from mobilekit.errors import DeviceError, UsageError, first_line
from mobilekit.store.interrupts import held_interrupts
from mobilekit.store.worker import python_path

_READY_SECONDS = 20.0
"""How long adb may take to reach a phone that is connected: its key is looked up in the farm."""
_LOOK_SECONDS = 0.2
_TRIES = 3
"""How often a phone is given back to a farm that does not answer."""
_REST_SECONDS = 0.5
_KEY = "Give the farm this machine's adb key, ~/.android/adbkey.pub, in its Settings, Keys."


@contextmanager
def leased(member: Member, note: Callable[[str], None]) -> Iterator[str]:
    """Lease a phone of a farm, and connect adb to it.

    Args:
        member: The phone.
        note: Is told what the user must know of how it was given back.

    Yields:
        Its serial number in adb's list.

    Raises:
        DeviceBusyError: Somebody uses it.
        DeviceError: The farm refused or did not answer, or adb does not reach the phone.
        UsageError: There is no token.
    """
    assert isinstance(member.host, Farm)
    with held_interrupts():
        keeper = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "mobilekit.bench.fleet.keeper"],
            env={**os.environ, "PYTHONPATH": python_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not for it
        )
    assert keeper.stdin and keeper.stdout
    wanted = {"serial": member.serial, "farm": member.host.model_dump(), "base": str(member.base)}
    try:
        with suppress(BrokenPipeError):
            keeper.stdin.write(json.dumps(wanted).encode() + b"\n")
            keeper.stdin.flush()
        yield _address(keeper.stdout, note)
    finally:
        with suppress(BrokenPipeError):
            keeper.stdin.close()
        for line in keeper.stdout:
            if "note" in (said := json.loads(line)):
                note(said["note"])
        keeper.stdout.close()
        keeper.wait()


def _address(lines: IO[bytes], note: Callable[[str], None]) -> str:
    """Return the address that the process of a lease tells, or raise what it tells instead."""
    for line in lines:
        said: dict[str, str] = json.loads(line)
        if "address" in said:
            return said["address"]
        if "what" in said:
            kind = {"busy": DeviceBusyError, "usage": UsageError}.get(said["kind"], DeviceError)
            raise kind(said["what"], said["hint"])
        note(said["note"])
    raise DeviceError("The process that leases phones died.", "Try again.")


def keep(serial: str, farm: Farm, base: Path, tell: Callable[[dict[str, str]], None], wait: Callable[[], Any]) -> None:
    """Lease a phone, and hold it until it is not needed any more; this is what the process that holds it does.

    Args:
        serial: The farm's name for it.
        farm: Whose it is.
        base: The folder that paths of the farm go from.
        tell: Is told the phone's address, or why there is none; and how it was given back, where that went wrong.
        wait: Returns when it is not needed any more.
    """
    try:
        stf = Stf(farm, base)
        # Of two processes with one token each could give back the other's phone.
        with locked(f"{serial} at {stf.url}"), _Lease(stf, serial, farm, tell) as address:
            tell({"address": address})
            wait()
    except (DeviceError, UsageError) as error:
        kind = "busy" if isinstance(error, DeviceBusyError) else "usage" if isinstance(error, UsageError) else "device"
        tell({"kind": kind, "what": error.what, "hint": error.hint})


@dataclass
class _Lease:
    """A phone that is leased, and connected to adb, while the block lasts."""

    stf: Stf
    serial: str
    farm: Farm
    tell: Callable[[dict[str, str]], None]
    address: str | None = None

    def __enter__(self) -> str:
        self.stf.look(self.serial)
        try:
            self.stf.take(self.serial, self.farm.idle_seconds)
        except FarmError as error:
            if error.is_open:
                self._give_back()
            raise
        try:
            self.address = self.stf.connect(self.serial)
            _connect(self.farm.adb, self.address)
        except BaseException:
            self._give_back()
            raise
        return self.address

    def __exit__(self, *_error: object) -> None:
        if not self._give_back():
            self.tell(
                {
                    "note": f"{self.stf.url} had ended the lease of {self.serial}: it was not used for "
                    f"{self.farm.idle_seconds} s, or somebody took it."
                }
            )

    def _give_back(self) -> bool:
        """Give the phone back, and return whether it was still leased; where that is not possible, say so."""
        if self.address is not None:
            with suppress(DeviceError, Refused):
                ask_server(server_address(self.farm.adb), f"host:disconnect:{self.address}")
            with suppress(FarmError):
                self.stf.disconnect(self.serial)
        for left in reversed(range(_TRIES)):
            try:
                return self.stf.give_back(self.serial)
            except FarmError as error:
                if left:
                    time.sleep(_REST_SECONDS)
                    continue
                self.tell(
                    {
                        "note": f"{self.serial} could not be given back: {error.what.rstrip('.')}. Press Stop Using "
                        f"there; without, it is free after {self.farm.idle_seconds} s."
                    }
                )
        return True


def _connect(adb: str | None, address: str) -> None:
    """Let an adb server connect to a phone, and wait until that is ready.

    Raises:
        DeviceError: It is not.
    """
    list_devices(adb)  # starts the server of this machine, if need be
    try:
        said = ask_server(server_address(adb), f"host:connect:{address}")
    except Refused as error:
        said = str(error)
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        found = next((each for each in list_devices(adb) if each.serial == address), None)
        if found is not None and found.ready:
            return
        if time.monotonic() > deadline:
            raise _not_ready(found, address, said)
        time.sleep(_LOOK_SECONDS)


def _not_ready(found: ListedDevice | None, address: str, said: str) -> DeviceError:
    if found is None:
        return DeviceError(f"adb cannot connect to {address}: {first_line(said)}.", "See that it is reached from here.")
    hint = _KEY if found.state == "unauthorized" else found.hint
    return DeviceError(found.message or f"{address} is not ready.", hint)
