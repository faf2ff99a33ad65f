"""How a device is reached: shell commands go there, files go there and back, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from mobilekit.bench.devices.base import Finished
from mobilekit.errors import DeviceError

WHEN_LOST = "See `mobilekit devices`, and run it again. What is left on the device is removed then."


class DeviceLost(DeviceError):  # noqa: N818 - an event with a name of its own, and no fault of anybody's
    """A device that was there cannot be reached; it may come back."""


class DeviceTimeout(DeviceLost):
    """A device did not answer in time."""


class NotRecorded(DeviceError):  # noqa: N818 - as above
    """A recording has no answer to what was asked: the session is another one, and the device is not to blame."""


class Connection(ABC):
    """A connection to one device. Every method has a time limit, and raises DeviceLost where the device is lost."""

    serial: str
    features: frozenset[str]
    """What the device's end of adb can do, in adb's words: `shell_v2` and others."""

    @abstractmethod
    def shell(self, command: str, timeout: float) -> Finished:
        """Run a command in the device's shell, with nothing on its standard input.

        Without `shell_v2` the device gives no exit status and joins the outputs: `exit_code` is 0, `stderr` empty.

        Args:
            command: What the shell parses; the caller quotes.
            timeout: Seconds.

        Raises:
            DeviceTimeout: It did not end in time; it may run on.
            DeviceError: The device refused, or was lost.
        """

    @abstractmethod
    def push(self, source: Path, target: str) -> None:
        """Copy a file to the path `target` on the device. After an error a part of it may be there.

        Raises:
            DeviceError: The device refused, or was lost.
        """

    @abstractmethod
    def pull(self, path: str) -> bytes:
        """Return the content of a file on the device.

        Raises:
            DeviceError: There is no such file, the device refused, or was lost.
        """

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Wait until a device that was lost can be reached again.

        Raises:
            DeviceLost: It did not come back in that time.
            DeviceError: It came back, and cannot be used.
        """
