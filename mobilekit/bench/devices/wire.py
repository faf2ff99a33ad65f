"""The protocol of the adb server, which every adb client speaks with it.

A request is its length in four hexadecimal digits, and its text. The answer begins with OKAY, or with FAIL and a reason
(AOSP, packages/modules/adb: OVERVIEW.TXT and SERVICES.TXT). Each step has a time limit of its own. adbutils' client
(2.12) gives a shell command ten minutes and a file's transfer no limit at all, and starts a server on this machine
where a remote one does not answer.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from types import TracebackType

from mobilekit.bench.devices.adb_address import Address

CONNECT_SECONDS = 5.0
_LONGEST_REQUEST = 0xFFFF
_open: set[Wire] = set()
_cuts: list[None] = []  # one for each `cut_all`


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The adb server or the device said no; the text is its reason."""


class Wire:
    """One connection to an adb server.

    Raises of all methods: Refused; TimeoutError; OSError or EOFError where the other end is lost.

    Args:
        address: Where the server is.
        seconds: Until when all must be done; see `within`.
    """

    def __init__(self, address: Address, seconds: float) -> None:
        self._socket = socket.create_connection((address.host, address.port), min(seconds, CONNECT_SECONDS))
        self.within(seconds)

    def __enter__(self) -> Wire:
        _open.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open.discard(self)
        self._socket.close()

    def cut(self) -> None:
        """End it from another thread: whoever waits for it gets EOFError or OSError."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def within(self, seconds: float) -> None:
        """Let what follows take so many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def request(self, text: str) -> None:
        """Ask for a service, and wait until it is granted."""
        data = text.encode()
        if len(data) > _LONGEST_REQUEST:
            raise Refused(f"a command of {len(data)} bytes is too long for adb")
        self.send(f"{len(data):04x}".encode() + data)
        self.expect_okay()

    def expect_okay(self) -> None:
        """Read the answer to a request."""
        status = self.read(4)
        if status == b"FAIL":
            raise Refused(self.read_block())
        if status != b"OKAY":
            raise Refused(f"it does not speak adb's protocol, but said {status!r}")

    def read_block(self) -> str:
        """Read a text with its length before it."""
        return self.read(int(self.read(4), 16)).decode(errors="replace")

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Read so many bytes, no fewer."""
        data = bytearray()
        while len(data) < count:
            chunk = self.read_some(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def read_some(self, most: int = 1 << 16) -> bytes:
        """Read what there is, at least a byte; nothing means that the other end has closed."""
        self._socket.settimeout(self._left())
        return self._socket.recv(most)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def cuts() -> int:
    """Return how often all was cut: whoever waits between two connections sees by it that there is no use."""
    return len(_cuts)


def cut_all() -> None:
    """End all connections that are open now, for Ctrl-C, which only the main thread hears."""
    _cuts.append(None)
    for wire in list(_open):
        wire.cut()
