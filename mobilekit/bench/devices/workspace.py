"""A private folder on a device: made, worked in, and removed, also what earlier sessions could not remove."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.devices.connection import Connection, DeviceTimeout
from mobilekit.bench.devices.lease import HeldShell
from mobilekit.bench.devices.names import Names, Session
from mobilekit.bench.devices.shell import DeviceShell
from mobilekit.bench.devices.store import ROOT, STORE, Entry, Store, entries_to_evict, parse_entries
from mobilekit.errors import DeviceError, UsageError

_PREFIX = f"{ROOT}/mobilekit-"
_ABANDONED_SECONDS = 24 * 3600
_REMOVE_SECONDS = 10.0
_KILL_SECONDS = 5.0
RECOVER_SECONDS = 60.0
"""How long a device that was lost may stay away."""
_COPY_SECONDS = 120.0
_LIBRARIES = "lib"
# AOSP, PowerManagerShellCommand; https://developer.android.com/games/optimize/adpf/fixed-performance-mode
_FIX = "cmd power set-fixed-performance-mode-enabled"


@contextmanager
def open_folder(connection: Connection, names: Names, session: Session) -> Iterator[AndroidWorkspace]:
    """Take the device, give a folder on it, and remove it with all that still runs in it.

    Whoever opens a folder has the lock of this machine and that of the device (`HeldShell`), so other folders of the
    same owner are left from sessions that died.

    Args:
        connection: How the device is reached.
        names: Gives names that were never given before.
        session: Who we are.

    Raises:
        DeviceError: Another session has the device, the folder cannot be made, or the device was lost.
    """
    folder = f"{_PREFIX}{session.owner}-{names.fresh()}"
    shell = HeldShell(connection, names, folder, session.who)
    dead = shell.take(session.owner)
    try:
        _make(shell, folder, session.owner, dead)
        yield AndroidWorkspace(connection, shell, folder, lambda: shell.take(session.owner))
    finally:
        with suppress(DeviceError):  # a device that is lost: the next session removes it
            shell.give_back(_removal([folder]), _REMOVE_SECONDS)


class AndroidWorkspace(Workspace):
    """A folder on an Android device; see `Workspace`. Files are used where the store has them.

    Args:
        connection: How the device is reached.
        shell: Its shell.
        folder: The folder, made already.
        retake: Takes the device's lock again after it was lost.
    """

    def __init__(
        self, connection: Connection, shell: DeviceShell, folder: str, retake: Callable[[], object] = lambda: None
    ) -> None:
        self._connection = connection
        self._retake = retake
        self._shell = shell
        self._folder = folder
        self._store = Store(connection, shell, folder)
        self._has_libraries = self._is_fixed = False

    def install(self, file: Path, executable: bool = False) -> str:
        """Bring a file to the device; see `Workspace.install`."""
        return self._store.upload_if_missing(file, executable)

    def run(self, arguments: Sequence[str], *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        """Run a program in the folder; see `Workspace.run`."""
        command = f"exec {shlex.join(arguments)}"
        if cpu_mask is not None:
            if not re.fullmatch(r"[0-9a-fA-F]+", cpu_mask):
                raise UsageError(f"{cpu_mask!r} is no mask of cores.", "It is hexadecimal without 0x, as in f0.")
            command = f"exec taskset {cpu_mask} {shlex.join(arguments)}"
        if self._has_libraries:
            command = f"export LD_LIBRARY_PATH={self._folder}/{_LIBRARIES}; {command}"
        try:
            # exec takes each word as it is, where the shell would see an assignment or a keyword.
            finished = self._shell.run(f"cd {self._folder} && ( {command} ) </dev/null", timeout)
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

    def bring_libraries(self, files: Sequence[Path]) -> None:
        """Bring shared libraries, each under its own name; see `Workspace.bring_libraries`."""
        for file in files:
            place = f"{self._folder}/{_LIBRARIES}"
            target = shlex.quote(f"{place}/{file.name}")
            stored = self.install(file)
            made = self._shell.run(
                f"mkdir -p {place} && {{ ln -sf {stored} {target} || cp {stored} {target}; }}", _COPY_SECONDS
            )
            if made.exit_code != 0:
                raise DeviceError(
                    f"{file.name} could not be put beside the tool on {self._shell.serial}.", "Try again."
                )
            self._has_libraries = True

    @contextmanager
    def fixed_performance(self) -> Iterator[bool | None]:
        """Set Android's mode of that name (since 11), and put it back; see `Workspace.fixed_performance`.

        Nothing tells whether it was on already: it is off afterwards, as it is after each start of the device.
        """
        self._is_fixed = self._shell.run(f"{_FIX} true >/dev/null 2>&1").exit_code == 0
        try:
            yield self._is_fixed
        finally:
            if self._is_fixed:
                with suppress(DeviceError):
                    self._shell.run(f"{_FIX} false >/dev/null 2>&1", _KILL_SECONDS)

    def read(self, path: str) -> bytes:
        """Return the content of a file on the device; see `Workspace.read`."""
        return self._connection.pull(posixpath.join(self._folder, path))

    def recover(self) -> None:
        """Wait for the device, and make the folder as it was, without programs; see `Workspace.recover`."""
        self._connection.wait(RECOVER_SECONDS)
        self._retake()
        self._shell.run(f"{_kill_in(self._folder)}\nmkdir -p {self._folder}")
        if self._is_fixed:  # a device that was started anew has forgotten it
            self._shell.run(f"{_FIX} true >/dev/null 2>&1")

    def _kill(self) -> bool:
        try:
            self._shell.run(_kill_in(self._folder), _KILL_SECONDS)
        except DeviceError:
            return False
        return True


def leftovers(entries: Sequence[Entry], now: int, folder: str, owner: str, dead: str | None = None) -> list[str]:
    """Return which folders died sessions left: our own, the last holder's if that died, others' of a day ago."""
    return [
        entry.path
        for entry in entries
        if re.fullmatch(rf"{_PREFIX}[0-9a-f]+-[0-9a-f]+", entry.path)
        and entry.path != folder
        and (
            entry.path == dead
            or entry.path.startswith(f"{_PREFIX}{owner}-")
            or now - entry.modified > _ABANDONED_SECONDS
        )
    ]


def _make(shell: DeviceShell, folder: str, owner: str, dead: str | None) -> None:
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
    stale = leftovers(entries, now, folder, owner, dead)
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
