"""The words of `mobilekit diff --device`, and what they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mobilekit.errors import UsageError, nearest
from mobilekit.runtimes.base import Runtime

OpenFile = Callable[[Path, Mapping[str, str]], Runtime]


@contextmanager
def open_device(word: str | None) -> Iterator[OpenFile | None]:
    """Give what opens a TFLite file on a device, while the block lasts; None gives None.

    Args:
        word: `emulated`: ARM code under qemu.

    Raises:
        DeviceError: The device is not there, or not set up.
        UsageError: The word is another one.
    """
    if word is None:
        yield None
    elif word == "emulated":
        from mobilekit.runtimes.emulated import Emulator

        with Emulator() as emulator:
            yield emulator.open
    else:
        raise UsageError(f"There is no device {word!r} for diff.", nearest(word, ("emulated", "adb", "adb:SERIAL")))
