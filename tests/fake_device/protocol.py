"""The messages of adb's transport protocol: a header of six little-endian words, then a payload."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(word, "little") for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
VERSION = 0x01000001
"""The first version whose payload sums are not checked."""
MAX_PAYLOAD = 2**20
AUTH_TOKEN, AUTH_SIGNATURE = 1, 2
_HEADER = struct.Struct("<6I")


@dataclass(frozen=True)
class Message:
    """One message. What the arguments mean depends on the command; in streams they are (sender's id, receiver's id)."""

    command: int
    first: int = 0
    second: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        # Sums are looked at only before the versions are known, when payloads are short.
        checksum = sum(self.payload) & 0xFFFFFFFF if self.command in (CNXN, AUTH) else 0
        header = _HEADER.pack(
            self.command, self.first, self.second, len(self.payload), checksum, self.command ^ 0xFFFFFFFF
        )
        return header + self.payload


def receive(connection: socket.socket) -> Message:
    """Read the next message.

    Raises:
        ConnectionError: The other side is gone, or speaks something else.
    """
    command, first, second, length, _, magic = _HEADER.unpack(_receive_exactly(connection, _HEADER.size))
    if magic != command ^ 0xFFFFFFFF or length > MAX_PAYLOAD:
        raise ConnectionError("not adb's protocol")
    return Message(command, first, second, _receive_exactly(connection, length))


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError("the other side closed the connection")
        data += part
    return bytes(data)
