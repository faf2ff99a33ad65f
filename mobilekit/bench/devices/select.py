"""The words of `--device`, and the devices that they name."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.bench.devices.adb_address import Address, server_address
from mobilekit.bench.devices.android_facts import parse_values
from mobilekit.bench.devices.base import Device
from mobilekit.bench.devices.connection import Connection
from mobilekit.bench.devices.discovery import ListedDevice, list_devices
from mobilekit.bench.devices.identity import READ_IDENTITY, identity_of, one_name_each
from mobilekit.bench.devices.names import Names, Session
from mobilekit.bench.devices.shell import DeviceShell
from mobilekit.errors import DeviceError, UsageError, nearest

if TYPE_CHECKING:
    from mobilekit.artifacts.on_device import OnDevice

_ALL = "all"


@dataclass(frozen=True)
class Selection:
    """The devices that were asked for."""

    devices: list[Device]
    not_ready: list[ListedDevice]
    """Those that the adb server sees as well, and that cannot be used; each says why."""
    notes: tuple[str, ...] = ()
    """What the user must know of the choice."""


@dataclass(frozen=True)
class DeviceKind:
    """A kind of devices: how `--device` names one, and what it does with a file."""

    name: str
    """The word, or what stands before the colon."""
    words: tuple[str, ...]
    """All that `--device` takes for it; capitals stand for what the user fills in."""
    find: Callable[[str, str | None, Path | None], Selection] | None
    """Finds devices that time files, of what stands behind the colon, the adb server and the folder to record into;
    None: its latencies would mean nothing."""
    open: Callable[[str, str | None], AbstractContextManager[OnDevice]] | None
    """Opens one that runs files, of what stands behind the colon and a benchmark_model; None: it would give what this
    machine gives."""
    is_phone: bool = False
    """What goes there can be recorded, and the program that runs files can be chosen."""

    def means(self, word: str) -> bool:
        """Return whether a word is one of the kind's."""
        name, _, rest = word.partition(":")
        return name == self.name and (word in self.words or (rest != "" and self.words[-1] != name))


def find_devices(word: str, adb_server: str | None = None, *, record: Path | None = None) -> Selection:
    """Return the devices that a word names, at least one, to time files on.

    Args:
        word: `local`; `adb`: the device that ANDROID_SERIAL names, or else the only one; `adb:SERIAL`; `adb:all`: all
            that are ready; `replay:DIR`: those whose recordings are in a folder.
        adb_server: HOST:PORT of the adb server; None leaves it to adb's environment variables.
        record: Folder to write the conversation with each device into; for phones.

    Raises:
        DeviceError: There is no such device, it is not ready, or which one is not clear.
        UsageError: The word is none of these.
    """
    kinds = [kind for kind in KINDS if kind.find]
    kind = next((kind for kind in kinds if kind.means(word)), None)
    if record is not None and not (kind and kind.is_phone):
        raise UsageError(f"--device {word} cannot be recorded.", "Only what is asked of a device through adb can.")
    if any(other.find is None and other.means(word) for other in KINDS):
        hint = " Or count instructions: --core a76." if word == "emulated" else ""
        raise UsageError(
            f"--device {word} is for `mobilekit diff`: its latencies would mean nothing.",
            f"Time on local or adb.{hint}",
        )
    if kind is None or kind.find is None:
        raise UsageError(
            f"There is no device {word!r}.", nearest(word, [each for kind in kinds for each in kind.words])
        )
    return kind.find(word.partition(":")[2], adb_server, record)


@contextmanager
def open_device(word: str | None, binary: str | None = None) -> Iterator[OnDevice | None]:
    """Give a device that runs TFLite files for their outputs, while the block lasts; None gives None.

    Args:
        word: `emulated`: ARM code under qemu; `gpu`: LiteRT's GPU accelerator; `qnn:SOC`: Qualcomm's
            NPU; `adb` or `adb:SERIAL`: a phone.
        binary: For phones: path of a benchmark_model, or the version of one to download; without, the one there.

    Raises:
        DeviceError: The device is not there, or not set up.
        UsageError: The word is another one.
    """
    kinds = [kind for kind in KINDS if kind.open]
    kind = next((kind for kind in kinds if word and kind.means(word) and word != f"{kind.name}:{_ALL}"), None)
    if binary is not None and not (kind and kind.is_phone):
        raise UsageError("--benchmark-binary is for a phone.", "Add --device adb.")
    if word is None:
        yield None
        return
    if kind is None or kind.open is None:
        words = [each for kind in kinds for each in kind.words if not each.endswith(_ALL)]
        raise UsageError(f"There is no device {word!r} for diff.", nearest(word, words))
    with kind.open(word.partition(":")[2], binary) as opener:
        yield opener


def choose(
    serial: str, found: Sequence[ListedDevice], without: str = "--device local needs none."
) -> list[ListedDevice]:
    """Return the ready devices that are meant.

    Args:
        serial: One device's, or `all`; empty: the only one that is ready.
        found: What the adb server sees.
        without: What needs no phone, for the hint where one is not there.

    Raises:
        DeviceError: None is, or more than one where one is meant.
    """
    meant = [each for each in found if serial in ("", _ALL, each.serial)]
    if not meant:
        raise _missing(serial, found, without)
    ready = [each for each in meant if each.ready]
    if not ready:
        raise DeviceError(" ".join(each.message or "" for each in meant), meant[0].hint)
    if len(ready) > 1 and serial != _ALL:
        names = ", ".join(f"{each.serial} ({each.description})" if each.description else each.serial for each in ready)
        raise DeviceError(
            f"adb sees {len(ready)} devices: {names}.",
            f"Name one, as in --device adb:{ready[0].serial}, or set ANDROID_SERIAL, or take all with adb:all.",
        )
    return ready


def _missing(serial: str, found: Sequence[ListedDevice], without: str) -> DeviceError:
    if serial in ("", _ALL):
        what, hint = "adb sees no device.", "Plug in a phone that has USB debugging on, or run `adb connect HOST:PORT`."
    else:
        seen = ", ".join(each.serial for each in found)
        what = f"adb sees no device {serial}" + (f", but {seen}." if seen else ", nor any other.")
        hint = f"Run `adb connect {serial}` first." if ":" in serial else "`mobilekit devices` lists what adb sees."
    return DeviceError(what, f"{hint} {without}".rstrip())


def _find_phones(serial: str, adb_server: str | None, record: Path | None) -> Selection:
    from mobilekit.bench.devices.adb import AdbConnection

    address = server_address(adb_server)
    found = list_devices(adb_server)
    serial = serial or os.environ.get("ANDROID_SERIAL", "")
    notes: list[str] = []
    if serial in ("", _ALL):
        found, notes = one_name_each(found, lambda each: ask_identity(address, each.serial))
    chosen = choose(serial, found)
    not_ready = [each for each in found if not each.ready]
    devices: list[Device] = []
    for each in chosen:
        try:
            connection = AdbConnection(address, each.serial)
        except DeviceError as error:
            if len(chosen) == 1:
                raise
            not_ready.append(replace(each, message=error.what, hint=error.hint))
            continue
        # Another server's emulator-5554 is another device.
        lock = f"adb:{each.serial}" if address.is_here else f"adb:{each.serial} at {address}"
        devices.append(_device(connection, lock, record))
    if not devices:
        raise DeviceError(" ".join(each.message or "" for each in not_ready), not_ready[0].hint)
    return Selection(devices, not_ready, tuple(notes))


def ask_identity(address: Address, serial: str) -> str | None:
    """Ask a device who it is; None where it does not tell, or is lost."""
    from mobilekit.bench.devices.adb import AdbConnection

    try:
        shell = DeviceShell(AdbConnection(address, serial), Names(secrets.token_hex(8)))
        return identity_of(parse_values(shell.run(READ_IDENTITY).stdout))
    except DeviceError:
        return None


def _device(connection: Connection, lock: str, record: Path | None) -> Device:
    from mobilekit.bench.devices.android import AdbDevice
    from mobilekit.bench.devices.recording import RecordingConnection

    session = Session.new()
    return AdbDevice(RecordingConnection(connection, session, record) if record else connection, session, lock=lock)


def _find_local(_rest: str, _adb_server: str | None, _record: Path | None) -> Selection:
    from mobilekit.bench.devices.local import LocalDevice

    return Selection([LocalDevice()], [])


def _find_replayed(folder: str, _adb_server: str | None, _record: Path | None) -> Selection:
    from mobilekit.bench.devices.android import AdbDevice
    from mobilekit.bench.devices.recording import ReplayConnection, recordings

    connections = [ReplayConnection(path) for path in recordings(Path(folder))]
    return Selection([AdbDevice(connection, connection.session, lock=None) for connection in connections], [])


@contextmanager
def _open_phone(serial: str, binary: str | None) -> Iterator[OnDevice]:
    from mobilekit.artifacts.on_device import OnDevice
    from mobilekit.bench.bench import choose_engine
    from mobilekit.bench.tool_engine import ToolEngine
    from mobilekit.bench.tool_runtime import ToolRuntime

    [device] = _find_phones(serial, None, None).devices
    with device.open_workspace() as workspace:
        engine = choose_engine(device, workspace, binary)
        assert isinstance(engine, ToolEngine)  # of a phone
        yield OnDevice(lambda _stage, path, layouts: ToolRuntime(workspace, engine.program, path, layouts))


@contextmanager
def _open_emulated(_rest: str, _binary: str | None) -> Iterator[OnDevice]:
    from mobilekit.artifacts.on_device import OnDevice
    from mobilekit.bench.devices.emulated import Emulator

    with Emulator() as emulator:
        yield OnDevice(lambda _stage, path, layouts: emulator.open(path, layouts))


@contextmanager
def _open_gpu(_rest: str, _binary: str | None) -> Iterator[OnDevice]:
    from mobilekit.targets.gpu import GPUProcess, on_gpu

    with GPUProcess() as process:
        yield on_gpu(process)


@contextmanager
def _open_npu(soc: str, _binary: str | None) -> Iterator[OnDevice]:
    from mobilekit.targets.qnn import QNNProcess, on_npu

    with QNNProcess(soc) as process:
        yield on_npu(process)


KINDS = (
    DeviceKind("local", ("local",), _find_local, None),
    DeviceKind("adb", ("adb", "adb:all", "adb:SERIAL"), _find_phones, _open_phone, is_phone=True),
    DeviceKind("replay", ("replay:DIR",), _find_replayed, None),
    DeviceKind("emulated", ("emulated",), None, _open_emulated),
    DeviceKind("gpu", ("gpu",), None, _open_gpu),
    DeviceKind("qnn", ("qnn:SOC",), None, _open_npu),
)
"""All there are. A new kind of devices is a line here and the functions that it names."""
