"""A device that is reached through an adb server."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilekit.bench.devices.adb_address import Address
from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.connection import WHEN_LOST, Connection, DeviceLost, DeviceTimeout
from mobilekit.bench.devices.discovery import ask_server, parse_devices, refusal
from mobilekit.bench.devices.wire import Refused, Wire, cuts
from mobilekit.errors import DeviceError

_STALL_SECONDS = 30.0  # of a transfer in which nothing moves
_LOOK_SECONDS = 0.5  # between two looks at the list of devices, for one that was lost
_CHUNK = 1 << 16  # the most that a packet of the sync service may hold
_REGULAR_FILE = 0o100644
# Packets of the shell protocol (AOSP, adb/shell_protocol.h).
_STDOUT, _STDERR, _EXIT = 1, 2, 3


class AdbConnection(Connection):
    """A device at an adb server.

    Args:
        address: Where the server is.
        serial: The device's serial number, as adb lists it.

    Raises:
        DeviceError: It is not ready.
    """

    def __init__(self, address: Address, serial: str) -> None:
        self.serial = serial
        self._address = address
        try:
            self.features = frozenset(ask_server(address, f"host-serial:{serial}:features").split(","))
        except Refused as error:
            raise refusal(serial, str(error)) from error

    def shell(self, command: str, timeout: float) -> Finished:
        """Run a command; see `Connection.shell`."""
        with self._reached(timeout, "a command") as wire:
            if "shell_v2" in self.features:
                wire.request(f"shell,v2,raw:{command}")
                return _read_packets(wire)
            wire.request(f"shell:{command}")
            return Finished(0, _text(_read_terminal(wire)), "")

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the device; see `Connection.push`."""
        with source.open("rb") as file, self._reached(_STALL_SECONDS, f"the transfer of {source.name}") as wire:
            wire.request("sync:")
            _send(wire, b"SEND", f"{target},{_REGULAR_FILE}".encode())
            while chunk := file.read(_CHUNK):
                wire.within(_STALL_SECONDS)
                _send(wire, b"DATA", chunk)
            wire.within(_STALL_SECONDS)
            wire.send(struct.pack("<4sI", b"DONE", int(time.time())))
            kind, size = _read_header(wire)
            if kind != b"OKAY":
                raise DeviceError(f"{self.serial} cannot take {source.name}: {_text(wire.read(size)).strip()}.")

    def pull(self, path: str) -> bytes:
        """Return the content of a file; see `Connection.pull`."""
        content = bytearray()
        with self._reached(_STALL_SECONDS, f"the transfer of {path}") as wire:
            wire.request("sync:")
            _send(wire, b"RECV", path.encode())
            while True:
                wire.within(_STALL_SECONDS)
                kind, size = _read_header(wire)
                if kind == b"DONE":
                    return bytes(content)
                data = wire.read(size)
                if kind != b"DATA":
                    raise DeviceError(f"{self.serial} cannot give {path}: {_text(data).strip()}.")
                content += data

    def wait(self, seconds: float) -> None:
        """Wait for the device in adb's list; see `Connection.wait`. One on the network is connected to anew."""
        deadline, before = time.monotonic() + seconds, cuts()
        lost = DeviceLost(f"{self.serial} did not come back within {seconds:g} s.", WHEN_LOST)
        while True:
            try:
                listed = {each.serial: each for each in parse_devices(ask_server(self._address, "host:devices-l"))}
                found = listed.get(self.serial)
                if found is not None and found.ready:
                    return
                if found is None and ":" in self.serial:
                    ask_server(self._address, f"host:connect:{self.serial}")
            except (Refused, DeviceError):  # the server is away as well, or cannot connect yet
                found = None
            if time.monotonic() > deadline or cuts() != before:
                raise DeviceLost(found.message, found.hint) if found and found.message else lost
            time.sleep(_LOOK_SECONDS)

    @contextmanager
    def _reached(self, seconds: float, doing: str) -> Iterator[Wire]:
        """Give a connection that leads to the device, and say in our own words what goes wrong with it."""
        try:
            with Wire(self._address, seconds) as wire:
                wire.request(f"host:transport:{self.serial}")
                yield wire
        except Refused as error:
            raise refusal(self.serial, str(error)) from error
        except TimeoutError as error:
            raise DeviceTimeout(f"{self.serial} did not answer for {seconds:g} s in {doing}.", WHEN_LOST) from error
        except (OSError, EOFError) as error:
            raise DeviceLost(f"{self.serial} was lost in the middle of {doing}.", WHEN_LOST) from error


def _read_packets(wire: Wire) -> Finished:
    """Read the shell protocol until the exit status comes."""
    streams = {_STDOUT: bytearray(), _STDERR: bytearray()}
    while True:
        kind, size = struct.unpack("<BI", wire.read(5))
        data = wire.read(size)
        if kind == _EXIT:
            return Finished(data[0], _text(streams[_STDOUT]), _text(streams[_STDERR]))
        if kind in streams:
            streams[kind] += data


def _read_terminal(wire: Wire) -> bytes:
    """Read what a terminal shows until it closes, and undo its line ends."""
    content = bytearray()
    while chunk := wire.read_some():
        content += chunk
    return re.sub(rb"\r+\n", b"\n", bytes(content))


def _send(wire: Wire, kind: bytes, data: bytes) -> None:
    wire.send(struct.pack("<4sI", kind, len(data)) + data)


def _read_header(wire: Wire) -> tuple[bytes, int]:
    kind, size = struct.unpack("<4sI", wire.read(8))
    return kind, size


def _text(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
