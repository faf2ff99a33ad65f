"""The words of `--device`, and the devices that they name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mobilekit.bench.devices.adb_address import server_address
from mobilekit.bench.devices.base import Device
from mobilekit.bench.devices.connection import Connection
from mobilekit.bench.devices.discovery import Found, list_devices
from mobilekit.bench.devices.names import Session
from mobilekit.errors import DeviceError, UsageError, nearest

_WORDS = ("local", "adb", "adb:SERIAL", "adb:all", "replay:DIR")
_ALL = "all"


@dataclass(frozen=True)
class Selection:
    """The devices that were asked for."""

    devices: list[Device]
    not_ready: list[Found]
    """Those that the adb server sees as well, and that cannot be used; each says why."""


def find_devices(word: str, adb_server: str | None = None, *, record: Path | None = None) -> Selection:
    """Return the devices that a word names, at least one.

    Args:
        word: `local`; `adb`: the device that ANDROID_SERIAL names, or else the only one; `adb:SERIAL`; `adb:all`: all
            that are ready; `replay:DIR`: those whose recordings are in a folder.
        adb_server: HOST:PORT of the adb server; None leaves it to adb's environment variables.
        record: Folder to write the conversation with each device into; for adb.

    Raises:
        DeviceError: There is no such device, it is not ready, or which one is not clear.
        UsageError: The word is none of these.
    """
    kind, _, rest = word.partition(":")
    if kind == "adb" and (rest or word == "adb"):
        return _at_adb(rest or os.environ.get("ANDROID_SERIAL", ""), adb_server, record)
    if record is not None:
        raise UsageError(f"--device {word} cannot be recorded.", "Only what is asked of a device through adb can.")
    if word == "local":
        from mobilekit.bench.devices.local import LocalDevice

        return Selection([LocalDevice()], [])
    if kind == "replay" and rest:
        return Selection(_replayed(Path(rest)), [])
    raise UsageError(f"There is no device {word!r}.", nearest(word, _WORDS))


def choose(serial: str, found: Sequence[Found]) -> list[Found]:
    """Return the ready devices that are meant.

    Args:
        serial: One device's, or `all`; empty: the only one that is ready.
        found: What the adb server sees.

    Raises:
        DeviceError: None is, or more than one where one is meant.
    """
    meant = [each for each in found if serial in ("", _ALL, each.serial)]
    if not meant:
        raise _missing(serial, found)
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


def _missing(serial: str, found: Sequence[Found]) -> DeviceError:
    if serial in ("", _ALL):
        what, hint = "adb sees no device.", "Plug in a phone that has USB debugging on, or run `adb connect HOST:PORT`."
    else:
        seen = ", ".join(each.serial for each in found)
        what = f"adb sees no device {serial}" + (f", but {seen}." if seen else ", nor any other.")
        hint = f"Run `adb connect {serial}` first." if ":" in serial else "`mobilekit devices` lists what adb sees."
    return DeviceError(what, f"{hint} --device local needs none.")


def _at_adb(serial: str, adb_server: str | None, record: Path | None) -> Selection:
    from mobilekit.bench.devices.adb import AdbConnection

    address = server_address(adb_server)
    found = list_devices(adb_server)
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
    return Selection(devices, not_ready)


def _device(connection: Connection, lock: str, record: Path | None) -> Device:
    from mobilekit.bench.devices.android import AdbDevice
    from mobilekit.bench.devices.recording import RecordingConnection

    session = Session.new()
    return AdbDevice(RecordingConnection(connection, session, record) if record else connection, session, lock=lock)


def _replayed(folder: Path) -> list[Device]:
    from mobilekit.bench.devices.android import AdbDevice
    from mobilekit.bench.devices.recording import ReplayConnection, recordings

    connections = [ReplayConnection(path) for path in recordings(folder)]
    return [AdbDevice(connection, connection.session, lock=None) for connection in connections]
