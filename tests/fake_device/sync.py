"""The file service, `sync:`. A request is four letters and a length, then mostly a path of that length."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tests.fake_device.daemon import Stream
from tests.fake_device.faults import Faults
from tests.fake_device.paths import Paths

_REQUEST = struct.Struct("<4sI")
_STAT = struct.Struct("<3I")
"""mode, size, mtime"""
_STAT_V2 = struct.Struct("<I2Q4IQ3q")
"""error, dev, ino, mode, nlink, uid, gid, size, atime, mtime, ctime"""
_LENGTH = struct.Struct("<I")
_SEND_V2 = struct.Struct("<4s2I")
"""id, mode, flags"""
_CHUNK = 2**16
_WRITABLE = ("/data/local/tmp", "/sdcard", "/storage/emulated/0")


class SyncService:
    """Answers requests of one stream until `QUIT`."""

    def __init__(self, stream: Stream, paths: Paths, faults: Callable[[], Faults]) -> None:
        self._stream = stream
        self._paths = paths
        self._faults = faults

    def run(self) -> None:
        """Answer requests.

        Raises:
            StreamClosedError: The client went without a word.
        """
        handlers = {
            b"STAT": self._stat,
            b"LST2": lambda path: self._stat_v2(b"LST2", path, follow=False),
            b"STA2": lambda path: self._stat_v2(b"STA2", path, follow=True),
            b"LIST": self._list,
            b"LIS2": self._list_v2,
            b"SEND": self._send,
            b"SND2": self._send_v2,
            b"RECV": self._receive,
            b"RCV2": self._receive_v2,
        }
        while True:
            name, length = _REQUEST.unpack(self._stream.read(_REQUEST.size))
            if name == b"QUIT":
                return
            path = self._stream.read(length).decode()
            if name not in handlers:
                self._fail(f"unknown command {name.decode(errors='replace')}")
                return
            handlers[name](path)

    def _stat(self, path: str) -> None:
        self._stream.write(b"STAT" + _STAT.pack(*_facts(self._paths.to_host(path))))

    def _stat_v2(self, name: bytes, path: str, follow: bool) -> None:
        self._stream.write(name + _facts_v2(self._paths.to_host(path), follow))

    def _list(self, path: str) -> None:
        for entry in _entries(self._paths.to_host(path)):
            encoded = os.fsencode(entry.name)
            self._stream.write(b"DENT" + _STAT.pack(*_facts(entry)) + _LENGTH.pack(len(encoded)) + encoded)
        self._stream.write(b"DONE" + bytes(_STAT.size + _LENGTH.size))

    def _list_v2(self, path: str) -> None:
        for entry in _entries(self._paths.to_host(path)):
            encoded = os.fsencode(entry.name)
            self._stream.write(b"DNT2" + _facts_v2(entry, follow=False) + _LENGTH.pack(len(encoded)) + encoded)
        self._stream.write(b"DONE" + bytes(_STAT_V2.size + _LENGTH.size))

    def _receive_v2(self, path: str) -> None:
        self._stream.read(_REQUEST.size)  # the id again, and flags: no compression was offered
        self._receive(path)

    def _receive(self, path: str) -> None:
        try:
            with self._paths.to_host(path).open("rb") as file:
                while data := file.read(_CHUNK):
                    self._stream.write(_REQUEST.pack(b"DATA", len(data)) + data)
        except OSError as error:
            self._fail(f"open failed: {error.strerror}")
            return
        self._stream.write(_REQUEST.pack(b"DONE", 0))

    def _send_v2(self, path: str) -> None:
        _, mode, _ = _SEND_V2.unpack(self._stream.read(_SEND_V2.size))
        self._write_file(path, mode)

    def _send(self, path_and_mode: str) -> None:
        path, mode = path_and_mode.rsplit(",", 1)
        self._write_file(path, int(mode))

    def _write_file(self, path: str, mode: int) -> None:
        """Write what follows to a file; like adbd, leave no file that is not whole."""
        target = self._paths.to_host(path)
        try:
            if not path.startswith(_WRITABLE):
                raise PermissionError(0, "Permission denied")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            file = target.open("wb")
        except OSError as error:
            self._skip_data()
            self._fail(f"couldn't create file: {error.strerror}")
            return
        whole = False
        try:
            with file:
                modified = self._copy_data(file)
            target.chmod(_mode_as_adbd_sets_it(mode))
            os.utime(target, (modified, modified))
            whole = True
        except OSError as error:
            self._skip_data()
            self._fail(f"write failed: {error.strerror}")
            return
        finally:
            if not whole:
                target.unlink(missing_ok=True)
        self._stream.write(_REQUEST.pack(b"OKAY", 0))

    def _copy_data(self, file: BinaryIO) -> int:
        """Copy until `DONE`, which carries the time of modification.

        Raises:
            OSError: There is no room.
        """
        count = 0
        while True:
            name, value = _REQUEST.unpack(self._stream.read(_REQUEST.size))
            if name == b"DONE":
                return int(value)
            faults = self._faults()
            data = self._stream.read(value)
            if faults.no_space:
                raise OSError(0, "No space left on device")
            count += file.write(data)
            if faults.drop_after_push_bytes is not None and count > faults.drop_after_push_bytes:
                self._stream.connection.fail()
            if faults.stall_after_push_bytes is not None and count > faults.stall_after_push_bytes:
                self._stream.wait_until_closed()

    def _skip_data(self) -> None:
        """Read on until `DONE`: a client that is still sending does not look for an answer."""
        while True:
            name, value = _REQUEST.unpack(self._stream.read(_REQUEST.size))
            if name == b"DONE":
                return
            self._stream.read(value)

    def _fail(self, reason: str) -> None:
        self._stream.write(_REQUEST.pack(b"FAIL", len(reason.encode())) + reason.encode())


def _mode_as_adbd_sets_it(mode: int) -> int:
    """Give group and others the rights of the owner."""
    user = (mode >> 6) & 0o7
    return user << 6 | user << 3 | user


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _facts(path: Path) -> tuple[int, int, int]:
    """Return mode, size and mtime; zeros if there is no such file."""
    try:
        facts = path.lstat()
    except OSError:
        return 0, 0, 0
    return facts.st_mode, min(facts.st_size, 2**32 - 1), int(facts.st_mtime)


def _facts_v2(path: Path, follow: bool) -> bytes:
    try:
        facts = path.stat() if follow else path.lstat()
    except OSError as error:
        return _STAT_V2.pack(error.errno or 0, *[0] * 10)
    size = 0 if stat.S_ISDIR(facts.st_mode) else facts.st_size
    owner = (facts.st_mode, facts.st_nlink, facts.st_uid, facts.st_gid)
    times = (int(facts.st_atime), int(facts.st_mtime), int(facts.st_ctime))
    return _STAT_V2.pack(0, facts.st_dev, facts.st_ino, *owner, size, *times)
