"""The device's end of adb's transport: connections, and the streams that share one."""

from __future__ import annotations

import contextlib
import queue
import secrets
import socket
import threading
from collections.abc import Callable

from tests.fake_device import protocol
from tests.fake_device.faults import Faults
from tests.fake_device.protocol import Message

_ADB_SCANS = range(5555, 5586)
"""Ports at which an adb server looks for emulators by itself, and so would find the device twice."""
_FEATURES = ("cmd", "fixed_push_mkdir", "ls_v2", "sendrecv_v2", "shell_v2", "stat_v2")
_FEATURES_BEFORE_ANDROID_7 = ("cmd",)
_TOKEN_BYTES = 20


class StreamClosedError(Exception):
    """The other side closed the stream, or the connection ended."""


class Stream:
    """One stream of a connection: bytes in order, in both directions."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self.connection = connection
        self.on_close: Callable[[], None] = lambda: None
        """Called once, when the stream ends for whatever reason."""
        self._local = local
        self._remote = remote
        self._arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""
        self._may_write = threading.Semaphore(1)
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether the stream has ended."""
        return self._ended.is_set()

    def wait_until_closed(self) -> None:
        """Do nothing until the other side ends the stream."""
        self._ended.wait()

    def read_some(self) -> bytes:
        """Return the next bytes, at least one.

        Raises:
            StreamClosedError: There will be none.
        """
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        data = b"" if self.closed and self._arrived.empty() else self._arrived.get()
        if not data:
            raise StreamClosedError
        self._send(protocol.OKAY)
        return data

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            StreamClosedError: There are not so many.
        """
        parts: list[bytes] = []
        while count:
            data = self.read_some()
            parts.append(data[:count])
            self._rest = data[count:]
            count -= len(parts[-1])
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Send bytes, piece by piece as the other side acknowledges them.

        Raises:
            StreamClosedError: The other side does not want more.
        """
        for start in range(0, len(data), protocol.MAX_PAYLOAD):
            self._may_write.acquire()
            if self.closed:
                raise StreamClosedError
            self._send(protocol.WRTE, data[start : start + protocol.MAX_PAYLOAD])

    def close(self) -> None:
        """End the stream from this side."""
        if self.end():
            with contextlib.suppress(StreamClosedError):
                self._send(protocol.CLSE)

    def arrive(self, data: bytes) -> None:
        """Take bytes that the connection received for this stream."""
        self._arrived.put(data)

    def acknowledge(self) -> None:
        """Take the news that the other side can receive more."""
        self._may_write.release()

    def end(self) -> bool:
        """Wake whoever waits; return False if the stream had ended before."""
        with self._lock:
            if self.closed:
                return False
            self._ended.set()
        self._arrived.put(b"")
        self._may_write.release()
        self.connection.forget(self._local)
        self.on_close()
        return True

    def _send(self, command: int, payload: bytes = b"") -> None:
        try:
            self.connection.send(Message(command, self._local, self._remote, payload))
        except OSError as error:
            raise StreamClosedError from error


Serve = Callable[[Stream, str], None]
"""Serves one stream until its end: given the stream and the name of the service, such as `shell:ls`."""


class Connection:
    """A connection of an adb server."""

    def __init__(self, daemon: Daemon, link: socket.socket) -> None:
        self._daemon = daemon
        self._link = link
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._opened = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Receive messages until the connection ends."""
        try:
            while True:
                message = protocol.receive(self._link)
                self._be_slow(len(message.payload))
                self._handle(message)
        except OSError:
            pass
        finally:
            self.drop()

    def send(self, message: Message) -> None:
        """Send a message; one at a time.

        Raises:
            OSError: The connection is gone.
        """
        with self._sending:
            self._be_slow(len(message.payload))
            self._link.sendall(message.encode())

    def drop(self) -> None:
        """End the connection and all its streams, as a pulled cable does."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()
        for stream in list(self._streams.values()):
            stream.end()
        self._daemon.forget(self)

    def fail(self) -> None:
        """Drop, because a fault says so; the device may stay away."""
        self._daemon.is_away = self._daemon.faults.stays_away
        self.drop()

    def forget(self, local: int) -> None:
        """Let go of a stream that ended."""
        self._streams.pop(local, None)

    def _be_slow(self, count: int) -> None:
        rate = self._daemon.faults.slow_bytes_per_second
        if rate is not None:
            self._ended.wait(count / rate)

    def _handle(self, message: Message) -> None:
        if message.command == protocol.CNXN:
            self._greet()
        elif message.command == protocol.AUTH and message.first == protocol.AUTH_SIGNATURE:
            self._ask_for_key()  # a public key waits for somebody to allow it, without an answer
        elif message.command == protocol.OPEN:
            self._open(message)
        elif stream := self._streams.get(message.second):
            if message.command == protocol.WRTE:
                stream.arrive(message.payload)
            elif message.command == protocol.OKAY:
                stream.acknowledge()
            elif message.command == protocol.CLSE:
                stream.end()

    def _greet(self) -> None:
        if self._daemon.faults.unauthorized:
            self._ask_for_key()
            return
        banner = f"device::{self._daemon.banner};features={','.join(self._daemon.features())}"
        self.send(Message(protocol.CNXN, protocol.VERSION, protocol.MAX_PAYLOAD, banner.encode()))

    def _ask_for_key(self) -> None:
        self.send(Message(protocol.AUTH, protocol.AUTH_TOKEN, 0, secrets.token_bytes(_TOKEN_BYTES)))

    def _open(self, message: Message) -> None:
        self._opened += 1
        stream = Stream(self, self._opened, message.first)
        self._streams[self._opened] = stream
        service = message.payload.rstrip(b"\0").decode()
        if not self._daemon.knows(service):
            self.forget(self._opened)
            self.send(Message(protocol.CLSE, 0, message.first))
            return
        self.send(Message(protocol.OKAY, self._opened, message.first))
        threading.Thread(target=self._serve, args=(stream, service), daemon=True).start()

    def _serve(self, stream: Stream, service: str) -> None:
        try:
            self._daemon.serve(stream, service)
        except StreamClosedError:
            pass
        finally:
            stream.close()


class Daemon:
    """Listens on a free port of this machine for adb servers.

    Args:
        banner: What the device says of itself, such as `ro.product.model=X;ro.product.name=y`.
        services: What serves a stream, by the beginning of the service's name.
        faults: What is wrong with the device; may be replaced at any time.
    """

    def __init__(self, banner: str, services: dict[str, Serve], faults: Faults) -> None:
        self.banner = banner
        self.faults = faults
        self.is_away = False
        """It does not answer to new connections."""
        self._services = services
        self._connections: set[Connection] = set()
        self._listener = _listen()
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def features(self) -> tuple[str, ...]:
        """Return the features that the device offers."""
        return _FEATURES_BEFORE_ANDROID_7 if self.faults.no_shell_v2 else _FEATURES

    def knows(self, service: str) -> bool:
        """Tell whether there is such a service."""
        return any(service.startswith(name) for name in self._services)

    def serve(self, stream: Stream, service: str) -> None:
        """Serve a stream until its end."""
        next(serve for name, serve in self._services.items() if service.startswith(name))(stream, service)

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that ended."""
        self._connections.discard(connection)

    def drop_connections(self) -> None:
        """End all connections; the device stays reachable."""
        for connection in list(self._connections):
            connection.drop()

    def close(self) -> None:
        """End all connections and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.drop_connections()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            if self.is_away:
                link.close()
                continue
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, link)
            self._connections.add(connection)
            threading.Thread(target=connection.run, daemon=True).start()


def _listen() -> socket.socket:
    while True:
        listener = socket.create_server(("127.0.0.1", 0))
        if listener.getsockname()[1] not in _ADB_SCANS:
            return listener
        listener.close()
