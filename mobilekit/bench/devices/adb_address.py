"""Where the adb server is: as its own environment variables say, or as the user says."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mobilekit.errors import UsageError

_HERE = ("127.0.0.1", "localhost", "::1")
_PORT = "ANDROID_ADB_SERVER_PORT"


@dataclass(frozen=True)
class Address:
    """Host and TCP port of an adb server."""

    host: str = "127.0.0.1"
    port: int = 5037

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, or what is reached through a port of it, such as a tunnel."""
        return self.host in _HERE

    @property
    def may_be_started(self) -> bool:
        """Whether it is where adb starts this machine's own server; any other port may be a tunnel's."""
        return self.is_here and str(self.port) == (os.environ.get(_PORT) or str(Address.port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def server_address(given: str | None) -> Address:
    """Return where the adb server is.

    Args:
        given: HOST:PORT; None takes ADB_SERVER_SOCKET (tcp:HOST:PORT or tcp:PORT), or else ANDROID_ADB_SERVER_ADDRESS
            and ANDROID_ADB_SERVER_PORT, as adb itself does.

    Raises:
        UsageError: One of them is no address.
    """
    if given:
        return _parse(given, "--adb-server")
    if spec := os.environ.get("ADB_SERVER_SOCKET"):
        if not spec.startswith("tcp:"):
            raise UsageError(
                f"ADB_SERVER_SOCKET is {spec}: mobilekit knows only tcp:HOST:PORT.", "Unset it, or give --adb-server."
            )
        place = spec.removeprefix("tcp:")
        return _parse(f"{Address.host}:{place}" if place.isdigit() else place, "ADB_SERVER_SOCKET")
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or Address.host
    return Address(host, _port(os.environ.get(_PORT) or str(Address.port), _PORT))


def _parse(text: str, origin: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(Address.port)
    return Address(host.strip("[]") or Address.host, _port(port, origin))


def _port(text: str, origin: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise UsageError(f"{origin} has no TCP port: {text!r}.", "It is HOST:PORT, as in 192.168.1.20:5037.")
    return int(text)
