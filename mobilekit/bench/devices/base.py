"""What a device is: a place where artifacts run and are timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable


@dataclass(frozen=True)
class Core(Jsonable):
    """One processor core."""

    index: int
    max_khz: int | None
    """Its highest frequency; None where the device does not say."""
    online: bool | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Whether it is switched on; None where the device does not say."""


@dataclass(frozen=True)
class DeviceFacts(Jsonable):
    """What of a device does not change while it is used. None: the device does not say."""

    name: str
    """As `--device` takes it: `local` or `adb:SERIAL`."""
    model: str
    abi: str
    """As Android names it: arm64-v8a, armeabi-v7a, x86_64, x86."""
    soc: str | None
    os: str
    """`Android 14`, `Linux 6.1.0`."""
    fingerprint: str | None
    cores: tuple[Core, ...]
    governor: str | None
    emulated: bool
    """Its instructions are translated by another machine: latencies mean nothing."""


@dataclass(frozen=True)
class DeviceState(Jsonable):
    """One reading of what changes. None: the device does not say."""

    thermal_status: int | None
    """Android's: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown."""
    battery_percent: int | None
    battery_celsius: float | None
    frequencies_khz: tuple[int | None, ...]
    """Of each core, in the order of `DeviceFacts.cores`."""
    screen: Literal["on", "off"] | None = field(default=None, metadata=ABSENT_IF_NONE)


@dataclass(frozen=True)
class Finished:
    """What a program on a device left when it ended by itself."""

    exit_code: int
    stdout: str
    stderr: str


class Workspace(ABC):
    """A private folder on a device, which goes when its block ends."""

    @abstractmethod
    def install(self, file: Path, executable: bool = False) -> str:
        """Bring a file to the device unless it is there already with the same SHA-256; return its path there.

        Raises:
            DeviceError: The device has no room, refused, or was lost.
        """

    @abstractmethod
    def run(self, arguments: Sequence[str], *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        """Run a program in the folder; its arguments arrive as they are, whatever characters they hold.

        Args:
            arguments: The program's path on the device, and its arguments.
            cpu_mask: The cores it may use, as taskset takes them: hexadecimal without 0x.
            timeout: Seconds after which it is killed.

        Raises:
            DeviceError: The device was lost, or the program did not end in time.
        """

    def bring_libraries(self, files: Sequence[Path]) -> None:
        """Bring shared libraries to where the programs that run in the folder find them by their names.

        Raises:
            DeviceError: The device has no room, refused, or was lost.
            UsageError: It takes none.
        """
        raise UsageError("This device takes no libraries.", "Leave out --push-lib.")

    @contextmanager
    def fixed_performance(self) -> Iterator[bool | None]:
        """Let the device hold a speed that it can keep up, while the block runs, where it has such a mode.

        Yields:
            Whether it does; None where it knows no such mode.
        """
        yield None

    def recover(self) -> None:
        """Reach the device again after it was lost, and clear what still runs in the folder.

        Raises:
            DeviceError: It does not come back, or another session has it now.
        """
        raise DeviceError("The device was lost.")

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the content of a file on the device; a relative path is one in the folder.

        Raises:
            DeviceError: There is no such file, or the device was lost.
        """


class Device(ABC):
    """A device that is there and answers."""

    @property
    @abstractmethod
    def facts(self) -> DeviceFacts:
        """What does not change, read once."""

    @abstractmethod
    def read_state(self) -> DeviceState:
        """Read what changes."""

    @abstractmethod
    def open_workspace(self) -> AbstractContextManager[Workspace]:
        """Lock the device for this process, and give a private folder that is removed afterwards.

        Raises:
            DeviceError: Another process holds the device, or it was lost.
        """
