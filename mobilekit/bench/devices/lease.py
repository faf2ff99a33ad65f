"""The lock on the device itself, which keeps off whoever else uses it, from whatever machine and by whatever name.

A folder on the device is the lock, as to make one either works or does not. It says who has it, and for how many
seconds from its last sign of life: each command notes that before it begins. So a session that died holds the device
for no longer than its last command could have taken, and one that lives is never taken for dead. A session that was
stopped for so long that another took the device notices that at its next command, and ends.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.connection import Connection
from mobilekit.bench.devices.identity import BOOT
from mobilekit.bench.devices.lock import DeviceBusyError
from mobilekit.bench.devices.names import Names
from mobilekit.bench.devices.shell import SECONDS, DeviceShell
from mobilekit.bench.devices.store import ROOT
from mobilekit.errors import DeviceError

LOCK = f"{ROOT}/mobilekit-lock"
_SLACK_SECONDS = 120  # between two commands: a rest, a file that is read here
_LOST = "mobilekit: another session has the device"
_PATIENCE = "Wait until that ends, or name another device with --device. `adb shell rm -r {lock}` ends a lock by hand."


@dataclass(frozen=True)
class Holder:
    """What the lock on a device says of who has it. None: it does not say, or the device lacks the tools to tell."""

    folder: str
    """The private folder of the session."""
    who: str
    boot: str
    seconds: int | None
    """For how long it has the device from its last sign of life, ..."""
    silent: int | None
    """... and how long ago that was."""
    boot_now: str

    def is_dead(self, owner: str) -> bool:
        """Return whether its session ended without giving the device back.

        Args:
            owner: Who asks. A session of the same owner is dead, as the lock on this machine would have kept us off.
        """
        if re.match(rf"\S*/mobilekit-{re.escape(owner)}-", self.folder):
            return True
        if self.boot and self.boot_now and self.boot != self.boot_now:
            return True
        return self.seconds is not None and self.silent is not None and self.silent > self.seconds


class HeldShell(DeviceShell):
    """The shell of a device that a session has for itself: each command sees first that this is still so.

    Args:
        connection: How the device is reached.
        names: Where the made-up words come from.
        folder: The session's private folder, which nobody else has.
        who: What others are told of who has the device.
    """

    def __init__(self, connection: Connection, names: Names, folder: str, who: str) -> None:
        super().__init__(connection, names)
        self._folder, self._who = folder, safe(who)

    def take(self, owner: str) -> str | None:
        """Take the device, or take it again; return the folder of a session that died with it, if one did.

        Raises:
            DeviceError: Another session has it, or the device was lost.
        """
        dead: str | None = None
        for _ in range(3):
            answer = super().run(_take(self._folder, self._who)).stdout
            if "lock=taken" in answer.splitlines():
                return dead
            if "lock=none" in answer.splitlines():
                raise DeviceError(
                    f"{self.serial} has no place to work in: {_words(answer)}.", f"Programs need to write to {ROOT}."
                )
            holder = _parse(answer)
            if not holder.is_dead(owner):
                break
            dead = holder.folder or dead
            super().run(_break(holder.folder))
        raise DeviceBusyError(
            f"{self.serial} is in use by another mobilekit{f' ({holder.who})' if holder.who else ''}.",
            _PATIENCE.format(lock=LOCK),
        )

    def run(self, command: str, timeout: float = SECONDS, *, then: float = 0) -> Finished:
        """Run a command; see `DeviceShell.run`.

        Args:
            command: What the shell parses.
            timeout: Seconds.
            then: For how many seconds more there may be no command, as a file is sent.

        Raises:
            DeviceError: Another session has the device now, or the device was lost.
        """
        seconds = round(timeout + then + _SLACK_SECONDS)
        finished = super().run(
            f'read -r holder 2>/dev/null <{LOCK}/holder\nif [ "$holder" = {self._folder} ]; then\n'
            f"echo {seconds} 2>/dev/null >{LOCK}/seconds\n{command}\nelse echo '{_LOST}'; (exit 1); fi",
            timeout,
        )
        if finished.exit_code == 1 and finished.stdout.strip() == _LOST:
            raise DeviceError(
                f"{self.serial} was taken by another mobilekit, as this one had not been heard of for too long.",
                "Run it again when that has ended.",
            )
        return finished

    def give_back(self, command: str, timeout: float) -> None:
        """Run a last command, and let others have the device."""
        self.run(f"{command}\nrm -rf {LOCK}", timeout)


def safe(who: str) -> str:
    """Return a text without what a shell or a line could take for something else."""
    return re.sub(r"[^\w@. -]", "_", who)


def _take(folder: str, who: str) -> str:
    """Return the command that takes the lock, or else says who has it; taken again by its holder, it is his."""
    return f"""boot=; read -r boot 2>/dev/null <{BOOT}
holder=; read -r holder 2>/dev/null <{LOCK}/holder
if [ "$holder" = {folder} ] || mkdir {LOCK} 2>/dev/null; then
  echo {_SLACK_SECONDS} >{LOCK}/seconds; echo "$boot" >{LOCK}/boot; echo {shlex.quote(who)} >{LOCK}/who
  echo {folder} >{LOCK}/holder && echo lock=taken
elif [ ! -d {LOCK} ]; then mkdir {LOCK} 2>&1 || echo lock=none
else
  for name in holder who boot seconds; do read -r value <{LOCK}/$name && echo "$name=$value"; done
  echo "now=$boot"; now=$(date +%s); then=$(stat -c %Y {LOCK}/seconds)
  now=${{now##*[!0-9]}}; then=${{then##*[!0-9]}}
  [ -n "$now" ] && [ -n "$then" ] && echo "silent=$((now - then))"
fi 2>/dev/null"""


def _break(folder: str) -> str:
    """Return the command that removes the lock of a session that died, unless another has taken it meanwhile."""
    return (
        f"holder=; read -r holder 2>/dev/null <{LOCK}/holder\n"
        f'[ "$holder" = {shlex.quote(folder)} ] && rm -rf {LOCK}; true'
    )


def _parse(answer: str) -> Holder:
    said = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    seconds, silent = (
        int(said[name]) if re.fullmatch(r"\d{1,9}", said.get(name, "")) else None for name in ("seconds", "silent")
    )
    return Holder(
        said.get("holder", ""), said.get("who", ""), said.get("boot", ""), seconds, silent, said.get("now", "")
    )


def _words(answer: str) -> str:
    lines = [line for line in answer.splitlines() if line and not line.startswith("lock=")]
    return lines[0] if lines else "it lets nobody write"
