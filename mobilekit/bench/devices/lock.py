"""One session at a time on a device: two that run at once would spoil each other's figures."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from mobilekit.bench.devices.names import unique_safe_name
from mobilekit.errors import DeviceError


class DeviceBusyError(DeviceError):
    """Another session has the device: once that ends, it can be used."""


@contextmanager
def locked(device: str, key: str | None = None) -> Iterator[None]:
    """Hold a device's lock, which all processes of this user on this machine share, while the block runs.

    A process that dies, however it dies, gives it back.

    Args:
        device: Its name, for people.
        key: What tells it from others, whatever its name; the name without.

    Raises:
        DeviceBusyError: Another process has it.
    """
    path = folder_of_locks() / unique_safe_name(key or device)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    holder = path.with_name(f"{path.name}.holder")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DeviceBusyError(
            f"{device} is in use by {_read(holder)}.", "Wait until that ends, or name another device with --device."
        ) from error
    try:
        holder.write_text(f"process {os.getpid()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def scope_of_locks() -> str:
    """Return a made-up word that those processes share which see each other's locks, and no others.

    Two containers with one user, host and image do not see each other's; where nothing can be kept, none does.
    """
    path = folder_of_locks() / "scope"
    word = secrets.token_hex(8)
    try:
        with path.open("x") as file:
            file.write(word)
    except FileExistsError:
        return path.read_text()
    except OSError:
        return word
    return word


def folder_of_locks() -> Path:
    """Return the folder of the locks: the same for each of the user's processes, whatever cache they use."""
    folder = platformdirs.user_state_path("mobilekit") / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that is read-only or missing, as in containers
        folder = Path(tempfile.gettempdir()) / f"mobilekit-locks-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _read(holder: Path) -> str:
    try:
        return holder.read_text() or "another process"
    except OSError:  # it has just taken the lock, or is just giving it back
        return "another process"
