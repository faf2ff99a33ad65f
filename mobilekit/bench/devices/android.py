"""An Android device: what it says of itself, and a place to work on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property

from mobilekit.bench.devices.android_facts import READ_FACTS, READ_STATE, parse_facts, parse_state, parse_values
from mobilekit.bench.devices.base import Device, DeviceFacts, DeviceState, Workspace
from mobilekit.bench.devices.connection import Connection
from mobilekit.bench.devices.identity import identity_of
from mobilekit.bench.devices.lock import locked
from mobilekit.bench.devices.names import Names, Session
from mobilekit.bench.devices.shell import DeviceShell
from mobilekit.bench.devices.workspace import open_folder


class AdbDevice(Device):
    """A device behind a connection.

    Args:
        connection: How it is reached: through adb, or a recording.
        session: What names it is given to work with.
        lock: Name of the device for the lock that keeps this machine's other processes off while a workspace is open,
            whatever name they use; a replay needs none.
    """

    def __init__(self, connection: Connection, session: Session, *, lock: str | None) -> None:
        self._connection = connection
        self._names = Names(session.seed)
        self._session = session
        self._lock = lock
        self._shell = DeviceShell(connection, self._names)

    @cached_property
    def _said(self) -> str:
        return self._shell.run(READ_FACTS).stdout

    @cached_property
    def facts(self) -> DeviceFacts:
        """What does not change, read once."""
        return parse_facts(self._said, self._connection.serial)

    def read_state(self) -> DeviceState:
        """Read what changes."""
        cores = self.facts.cores
        return parse_state(self._shell.run(READ_STATE).stdout, cores)

    @contextmanager
    def open_workspace(self) -> Iterator[Workspace]:
        """Lock the device, and give a private folder on it; see `Device.open_workspace`."""
        lock = locked(self._lock, identity_of(parse_values(self._said))) if self._lock else nullcontext()
        with lock, open_folder(self._connection, self._names, self._session) as workspace:
            yield workspace
