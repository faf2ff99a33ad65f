"""The words of `mobilekit diff --device`, and what they open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mobilekit.artifacts.runtime import Runtime
from mobilekit.errors import UsageError, nearest

OpenFile = Callable[[Path, Mapping[str, str]], Runtime]


@contextmanager
def open_device(word: str | None, binary: str | None = None) -> Iterator[OpenFile | None]:
    """Give what opens a TFLite file on a device, while the block lasts; None gives None.

    Args:
        word: `emulated`: ARM code under qemu; `adb` or `adb:SERIAL`: a phone.
        binary: For phones: path of a benchmark_model, or the version of one to download; without, the one there.

    Raises:
        DeviceError: The device is not there, or not set up.
        UsageError: The word is another one.
    """
    if binary is not None and not (word or "").startswith("adb"):
        raise UsageError("--benchmark-binary is for a phone.", "Add --device adb.")
    if word is None:
        yield None
    elif word == "emulated":
        from mobilekit.bench.devices.emulated import Emulator

        with Emulator() as emulator:
            yield emulator.open
    elif word == "adb" or (word.startswith("adb:") and word != "adb:all"):
        with _open_phone(word, binary) as opener:
            yield opener
    else:
        raise UsageError(f"There is no device {word!r} for diff.", nearest(word, ("emulated", "adb", "adb:SERIAL")))


@contextmanager
def _open_phone(word: str, binary: str | None) -> Iterator[OpenFile]:
    from mobilekit.bench.bench import choose_engine
    from mobilekit.bench.devices.select import find_devices
    from mobilekit.bench.tool_engine import ToolEngine
    from mobilekit.bench.tool_runtime import ToolRuntime

    device = find_devices(word).devices[0]
    with device.open_workspace() as workspace:
        engine = choose_engine(device, workspace, binary)
        assert isinstance(engine, ToolEngine)  # of a phone
        yield lambda path, layouts: ToolRuntime(workspace, engine.program, path, layouts)
