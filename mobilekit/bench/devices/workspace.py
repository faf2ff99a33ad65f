"""A private folder on a device: made, worked in, and removed, also what earlier sessions could not remove."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.devices.connection import Connection, DeviceTimeout
from mobilekit.bench.devices.shell import DeviceShell
from mobilekit.bench.devices.store import ROOT, STORE, Entry, Store, entries_to_evict, parse_entries
from mobilekit.errors import DeviceError, UsageError

_PREFIX = f"{ROOT}/mobilekit-"
_ABANDONED_SECONDS = 24 * 3600
_REMOVE_SECONDS = 10.0
_KILL_SECONDS = 5.0


@contextmanager
def open_folder(connection: Connection, shell: DeviceShell, owner: str, name: str) -> Iterator[Workspace]:
    """Give a folder on the device, and remove it with all that still runs in it.

    The caller holds the device's lock, so other folders of the same owner are left from sessions that died.

    Args:
        connection: How the device is reached.
        shell: Its shell.
        owner: Who we are; see `Session`.
        name: A name that was never given before.

    Raises:
        DeviceError: The folder cannot be made, or the device was lost.
    """
    folder = f"{_PREFIX}{owner}-{name}"
    try:
        _make(shell, folder, owner)
        yield AndroidWorkspace(connection, shell, folder)
    finally:
        with suppress(DeviceError):  # a device that is lost: the next session removes it
            shell.run(_removal([folder]), _REMOVE_SECONDS)


class AndroidWorkspace(Workspace):
    """A folder on an Android device; see `Workspace`. Files are used where the store has them."""

    def __init__(self, connection: Connection, shell: DeviceShell, folder: str) -> None:
        self._connection = connection
        self._shell = shell
        self._folder = folder
        self._store = Store(connection, shell, folder)

    def install(self, file: Path, executable: bool = False) -> str:
        """Bring a file to the device; see `Workspace.install`."""
        return self._store.upload_if_missing(file, executable)

    def run(self, arguments: Sequence[str], *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        """Run a program in the folder; see `Workspace.run`."""
        command = shlex.join(arguments)
        if cpu_mask is not None:
            if not re.fullmatch(r"[0-9a-fA-F]+", cpu_mask):
                raise UsageError(f"{cpu_mask!r} is no mask of cores.", "It is hexadecimal without 0x, as in f0.")
            command = f"taskset {cpu_mask} {command}"
        try:
            # exec takes each word as it is, where the shell would see an assignment or a keyword.
            finished = self._shell.run(f"cd {self._folder} && ( exec {command} ) </dev/null", timeout)
        except DeviceTimeout as error:
            end = "it was killed" if self._kill() else "it could not be killed"
            raise DeviceError(
                f"{posixpath.basename(arguments[0])} did not end within {timeout:g} s on {self._shell.serial}; {end}.",
                "Give it more time, or less to do.",
            ) from error
        except BaseException:  # Ctrl-C as well: adb ends the shell alone, the program would run on
            self._kill()
            raise
        if cpu_mask is not None and finished.exit_code == 127 and "taskset" in finished.stderr + finished.stdout:
            raise DeviceError(f"{self._shell.serial} has no taskset: cores cannot be chosen.", "Run it without a mask.")
        return finished

    def read(self, path: str) -> bytes:
        """Return the content of a file on the device; see `Workspace.read`."""
        return self._connection.pull(posixpath.join(self._folder, path))

    def _kill(self) -> bool:
        try:
            self._shell.run(_kill_in(self._folder), _KILL_SECONDS)
        except DeviceError:
            return False
        return True


def leftovers(entries: Sequence[Entry], now: int, folder: str, owner: str) -> list[str]:
    """Return which folders died sessions left: our own, and those of others that nobody touched for a day."""
    return [
        entry.path
        for entry in entries
        if re.fullmatch(rf"{_PREFIX}[0-9a-f]+-[0-9a-f]+", entry.path)
        and entry.path != folder
        and (entry.path.startswith(f"{_PREFIX}{owner}-") or now - entry.modified > _ABANDONED_SECONDS)
    ]


def _make(shell: DeviceShell, folder: str, owner: str) -> None:
    """Make the folder and the store, and remove what earlier sessions left and what the store has too much of."""
    made = shell.run(
        f"{{ [ -d {STORE} ] || mkdir -p {STORE}; }} && mkdir -m 700 {folder}"
        f" && {{ stat -c '%Y %s %n' {_PREFIX}* {STORE}/* 2>/dev/null; true; }}"
    )
    if made.exit_code != 0:
        words = (made.stderr or made.stdout).strip() or f"exit status {made.exit_code}"
        raise DeviceError(f"{shell.serial} has no place to work in: {words}.", f"Programs need to write to {ROOT}.")
    entries = parse_entries(made.stdout)
    now = next((entry.modified for entry in entries if entry.path == folder), None)
    if now is None:  # a device without stat
        return
    stale = leftovers(entries, now, folder, owner)
    files = entries_to_evict([entry for entry in entries if entry.path.startswith(f"{STORE}/")], now)
    if stale or files:
        shell.run(_removal(stale, files))


def _removal(folders: Sequence[str], files: Sequence[str] = ()) -> str:
    """Return the command that removes folders, with the programs that run in them, and files."""
    return "\n".join([*map(_kill_in, folders), f"rm -rf {shlex.join([*folders, *files])}"])


def _kill_in(folder: str) -> str:
    """Return the command that kills the programs whose working directory is a folder, or one in it."""
    return (
        "ls -l /proc/[0-9]*/cwd 2>/dev/null | while read -r line; do case $line in "
        f"*' -> {folder}'|*' -> {folder}/'*) line=${{line#*/proc/}}; kill -9 ${{line%%/cwd*}};; esac; done"
    )
