"""Shell commands whose end is certain.

A connection that breaks looks like a command that ended: an old device or an old adb even report success. So the
device itself writes a made-up word and the exit status after each command; what ends without them was cut off.
"""

from __future__ import annotations

import re

from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.connection import WHEN_LOST, Connection, DeviceLost
from mobilekit.bench.devices.names import Names

_LINKER = re.compile(r"WARNING: linker: .*(?:\n|$)")
SECONDS = 30.0
"""Limit of the small commands that are mobilekit's own."""


class DeviceShell:
    """A device's shell.

    Args:
        connection: How the device is reached.
        names: Where the made-up words come from.
    """

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names
        self.serial = connection.serial

    def run(self, command: str, timeout: float = SECONDS, *, then: float = 0) -> Finished:
        """Run a command; an exit status other than 0 is an answer, not an error.

        What the linker of Android 5 to 7 says of every program it starts is left out.

        Args:
            command: What the shell parses.
            timeout: Seconds.
            then: For how many seconds there may be no other command; for shells that hold a device.

        Raises:
            DeviceTimeout: It did not end in time; it may run on.
            DeviceLost: The device was lost before the command ended.
        """
        word = f"end-{self._names.fresh()}"
        reply = self._connection.shell(f"{command}\necho {word} $?", timeout)
        stdout, _, rest = reply.stdout.rpartition(word)
        status = re.match(r" (\d+)\n", rest)
        if status is None:
            raise DeviceLost(f"{self.serial} was lost in the middle of a command.", WHEN_LOST)
        return Finished(int(status[1]), _LINKER.sub("", stdout), _LINKER.sub("", reply.stderr))
