"""The files that stay on a device between sessions, so that a large model is sent once.

A file's name begins with its SHA-256, and it comes to its place by a rename, so it is whole. Its content is checked
before it is used again. As that takes a second for some, a stamp beside it keeps its inode, size and time of change
as they were at the last check: while they stay, so does the content. Writing the stamp anew notes the use.

The store is a cache: files that were not used for 14 days go, then the least recently used ones beyond 500 MB.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mobilekit.bench.devices.connection import Connection
from mobilekit.bench.devices.names import safe_name
from mobilekit.bench.devices.shell import DeviceShell
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.files import sha256_of

ROOT = "/data/local/tmp"
"""The one place where adb's shell may write and execute."""
STORE = f"{ROOT}/mobilekit-store"
_STAMP = f"{STORE}/stamp-"
_THERE = "there"

LIMIT_SECONDS = 14 * 24 * 3600
LIMIT_BYTES = 500_000_000
_HASH_SECONDS = 120.0
_SLOWEST_BYTES_PER_SECOND = 50_000  # of a transfer that is still worth its while
_SPARE_BYTES = 8 << 20  # for what programs write


@dataclass(frozen=True)
class Entry:
    """A file or folder on a device."""

    path: str
    bytes: int
    modified: int
    """Seconds of the device's clock."""


def entries_to_evict(entries: Sequence[Entry], now: int) -> list[str]:
    """Return which files of the store have to go, with their stamps."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.path.removeprefix(_STAMP).removeprefix(f"{STORE}/"), []).append(entry)
    kept = 0
    gone: list[str] = []
    for group in sorted(groups.values(), key=_last_use, reverse=True):
        size = sum(entry.bytes for entry in group)
        if now - _last_use(group) > LIMIT_SECONDS or kept + size > LIMIT_BYTES:
            gone.extend(entry.path for entry in group)
        else:
            kept += size
    return gone


def _last_use(group: Sequence[Entry]) -> int:
    return max(entry.modified for entry in group)


class Store:
    """The store of a device.

    Args:
        connection: How the device is reached.
        shell: Its shell.
        folder: A private folder on the device, for files that are not whole yet.
    """

    def __init__(self, connection: Connection, shell: DeviceShell, folder: str) -> None:
        self._connection = connection
        self._shell = shell
        self._part = f"{folder}/.part"

    def upload_if_missing(self, file: Path, executable: bool) -> str:
        """Send a file unless it is there with the same SHA-256; return its path on the device.

        Raises:
            DeviceError: The device has no room, refused, or was lost.
            UsageError: The file cannot be read.
        """
        try:
            digest, size = sha256_of(file), file.stat().st_size
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
        name = f"{digest}-{safe_name(file.name)}"
        sending = size / _SLOWEST_BYTES_PER_SECOND
        answer = self._shell.run(_look_up(name, digest, executable), _HASH_SECONDS, then=sending).stdout
        if answer.split()[-1:] == [_THERE]:
            return f"{STORE}/{name}"
        free = parse_free(answer)
        if free is not None and free < size + _SPARE_BYTES:
            raise DeviceError(
                f"{self._shell.serial} has {free / 1e6:.0f} MB left in {ROOT}: no room for {file.name} "
                f"({size / 1e6:.0f} MB).",
                f"Make room there; `adb shell rm -r {STORE}` empties mobilekit's own cache.",
            )
        try:
            self._connection.push(file, self._part)
            self._put_in_place(file, digest, f"{STORE}/{name}", "755" if executable else "644")
        except BaseException:  # Ctrl-C as well: a part must not stay
            with suppress(DeviceError):
                self._shell.run(f"rm -f {self._part}")
            raise
        return f"{STORE}/{name}"

    def _put_in_place(self, file: Path, digest: str, target: str, mode: str) -> None:
        """Check what arrived, and move it to its place. A device without sha256sum is trusted."""
        done = self._shell.run(
            f"case $(sha256sum {self._part} 2>/dev/null) in *{digest}' '*|'') chmod {mode} {self._part}"
            f" && mv -f {self._part} {target};; *) echo 'it arrived changed' >&2; false;; esac",
            _HASH_SECONDS,
        )
        if done.exit_code != 0:
            words = (done.stderr or done.stdout).strip() or f"exit status {done.exit_code}"
            raise DeviceError(f"{file.name} could not be put on {self._shell.serial}: {words}.", "Try again.")


def _look_up(name: str, digest: str, executable: bool) -> str:
    """Return the command that says whether a file is in the store, whole; if not, it says what room there is.

    What is printed before an answer, as by Android's linker, is passed over: of `stat` the last line counts, of `date`
    the last number, and a digest is known by the blank behind it, as the file's name begins with it too.

    A stamp is written only of a file that has not changed for two seconds: a change after it has another time then.
    """
    file, stamp = f"{STORE}/{name}", f"{_STAMP}{name}"
    return (
        (f"[ -x {file} ] || chmod 755 {file} 2>/dev/null\n" if executable else "")
        + f"""now=$(stat -c '%i %s %Z' {file} 2>/dev/null); now=${{now##*
}}
read -r known 2>/dev/null <{stamp}
if [ -n "$now" ] && [ "$now" = "$known" ]; then echo "$now" >{stamp}; echo {_THERE}
else case $(sha256sum {file} 2>/dev/null) in
  *{digest}' '*) echo {_THERE}; date=$(date +%s)
    [ -n "$now" ] && [ $((${{date##*[!0-9]}} - ${{now##* }})) -gt 1 ] && echo "$now" >{stamp};;
  *) df -k {ROOT};;
esac; fi 2>/dev/null"""
    )


def parse_free(answer: str) -> int | None:
    """Return the bytes that are free, from the answer of `df -k`; None if it cannot be told."""
    match = re.search(r"\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%", answer)
    return int(match[3]) * 1024 if match else None


def parse_entries(answer: str) -> list[Entry]:
    """Parse lines of `stat -c '%Y %s %n'`."""
    entries = []
    for line in answer.splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0].isdecimal() and words[1].isdecimal():
            entries.append(Entry(words[2], int(words[1]), int(words[0])))
    return entries
