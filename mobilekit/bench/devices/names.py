"""Names that are made up for a session, and names that are safe in paths and in a device's shell."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import re
import secrets
from dataclasses import dataclass

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST = 80


@dataclass(frozen=True)
class Session:
    """What tells a session with a device from others. A recording keeps it, so that a replay asks in the same words."""

    seed: str
    """Where the made-up names come from."""
    owner: str
    """Those processes of this user on this machine that share locks: which leftovers on a device are ours."""
    who: str = ""
    """What others are told of who has a device."""

    @classmethod
    def new(cls) -> Session:
        """Return a session that nobody else has."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            user = ""
        from mobilekit.bench.devices.lock import scope_of_locks

        here = f"{user}@{platform.node()}"
        owner = hashlib.sha256(f"{here} {scope_of_locks()}".encode()).hexdigest()[:8]
        return cls(secrets.token_hex(8), owner, f"process {os.getpid()} of {here}")


class Names:
    """Hexadecimal names, one after the other, that a seed determines."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def fresh(self) -> str:
        """Return the next name, 16 digits."""
        self._count += 1
        return hashlib.sha256(f"{self._seed} {self._count}".encode()).hexdigest()[:16]


def safe_name(text: str) -> str:
    """Return a text as a file name of at most 80 letters, digits, dots, dashes and underscores; its end is kept."""
    return _UNSAFE.sub("_", text)[-_LONGEST:].lstrip(".-") or "_"


def unique_safe_name(text: str) -> str:
    """Return a safe name that no other text has: with a digest of the text where it had to be changed."""
    name = safe_name(text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
