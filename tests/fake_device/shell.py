"""The services that run commands: `shell:`, `shell,v2:` and `exec:`.

A command is run by this machine's /bin/sh, in a process group of its own, with the device's folders put in place
of the paths that it names. Protocol v2 packs what travels: one byte says what it is, four say how long it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import IO

from tests.fake_device.daemon import Stream, StreamClosedError
from tests.fake_device.faults import Faults
from tests.fake_device.paths import Paths

_PACKET = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PASSED_ON = 0.2
"""Seconds in which an adb server passes on what it got; of a connection that fails it drops the rest."""
_CHUNK = 2**16
_SIGNALED = 128
_GRACE = 0.3
"""Seconds between the hang-up that adbd sends and the kill that follows here."""


class _Protocol(Enum):
    OLD = "shell"  # without exit codes, as a terminal shows it
    V2 = "shell,v2"
    EXEC = "exec"  # without exit codes, bytes as they are


class ShellService:
    """Runs the command of one stream, and ends when it ended.

    Args:
        stream: Where input comes from and output goes to.
        paths: The device's paths.
        environment: The whole environment of the command.
        faults: What is wrong with the device when the command starts.
        earlier: The commands that ran before.
    """

    def __init__(
        self, stream: Stream, paths: Paths, environment: dict[str, str], faults: Faults, earlier: Sequence[str] = ()
    ) -> None:
        self._earlier = earlier
        self._stream = stream
        self._paths = paths
        self._environment = environment
        self._faults = faults
        self._writing = threading.Lock()
        self._until_drop: int | None = None
        self._protocol = _Protocol.OLD

    def run(self, service: str) -> None:
        """Run the command of a service such as `shell,v2,raw:ls`.

        Raises:
            StreamClosedError: The client went before the command ended.
        """
        options, command = service.split(":", 1)
        self._protocol = _protocol(options)
        if self._faults.drops_on(command, self._earlier):
            self._until_drop = self._faults.drop_after_output_bytes
        apart = self._protocol is _Protocol.V2 and "pty" not in options.split(",")
        process = subprocess.Popen(
            ["/bin/sh", *(["-c", self._paths.command_to_host(command)] if command else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            cwd=self._paths.root,
            env=self._environment,
            start_new_session=True,
        )
        hang_up = (process, os.kill if self._faults.orphans else os.killpg)
        self._stream.on_close = lambda: threading.Thread(target=_hang_up, args=hang_up, daemon=True).start()
        try:
            if self._stream.closed:  # before anyone could be told
                _hang_up(*hang_up)
            self._serve(process)
        finally:
            self._stream.on_close = lambda: None

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        if self._until_drop == 0:
            self._stream.connection.fail()
        assert process.stdin and process.stdout
        pumps = [threading.Thread(target=self._pump, args=(process.stdout, _STDOUT), daemon=True)]
        if process.stderr:
            pumps.append(threading.Thread(target=self._pump, args=(process.stderr, _STDERR), daemon=True))
        threading.Thread(target=self._feed, args=(process.stdin,), daemon=True).start()
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = process.wait()
        if self._protocol is _Protocol.V2:
            self._send(_EXIT, bytes([code if code >= 0 else _SIGNALED - code]))

    def _pump(self, pipe: IO[bytes], kind: int) -> None:
        """Bring output to the client until the pipe ends, or nobody listens."""
        output = self._paths.output_filter()
        with contextlib.suppress(StreamClosedError), pipe:
            while data := os.read(pipe.fileno(), _CHUNK):
                self._send(kind, output.feed(data))
            self._send(kind, output.flush())

    def _send(self, kind: int, data: bytes) -> None:
        if not data:
            return
        with self._writing:
            falls = kind == _STDOUT and self._until_drop is not None and len(data) >= self._until_drop
            if falls:
                data = data[: self._until_drop]
            elif kind == _STDOUT and self._until_drop is not None:
                self._until_drop -= len(data)
            self._stream.write(self._encode(kind, data))
        if falls:
            time.sleep(_PASSED_ON)
            self._stream.connection.fail()

    def _encode(self, kind: int, data: bytes) -> bytes:
        if self._protocol is _Protocol.V2:
            return _PACKET.pack(kind, len(data)) + data
        return data.replace(b"\n", b"\r\n") if self._protocol is _Protocol.OLD else data

    def _feed(self, pipe: IO[bytes]) -> None:
        """Bring the client's input to the command until either ends."""
        with contextlib.suppress(StreamClosedError, OSError, ValueError), pipe:
            while True:
                data = self._receive()
                if data is None:
                    break
                pipe.write(data)
                pipe.flush()
        with contextlib.suppress(StreamClosedError):
            while True:  # acknowledge the rest, or the client would wait
                self._stream.read_some()

    def _receive(self) -> bytes | None:
        """Return the next input; None at its end."""
        if self._protocol is not _Protocol.V2:
            return self._stream.read_some()
        kind, length = _PACKET.unpack(self._stream.read(_PACKET.size))
        data = self._stream.read(length)
        if kind == _CLOSE_STDIN:
            return None
        return data if kind == _STDIN else b""  # others tell of the terminal's size


def serve_shell(
    paths: Paths, environment: Callable[[], dict[str, str]], faults: Callable[[], Faults], commands: list[str]
) -> Callable[[Stream, str], None]:
    """Return what serves a stream with a command.

    Args:
        paths: The device's paths.
        environment: Gives the environment of the next command.
        faults: Gives what is wrong with the device now.
        commands: Gets each command as the client sent it.
    """

    def serve(stream: Stream, service: str) -> None:
        earlier = list(commands)
        commands.append(service.split(":", 1)[1])
        ShellService(stream, paths, environment(), faults(), earlier).run(service)

    return serve


def _protocol(options: str) -> _Protocol:
    if options.startswith("exec"):
        return _Protocol.EXEC
    return _Protocol.V2 if "v2" in options.split(",") else _Protocol.OLD


def _hang_up(process: subprocess.Popen[bytes], kill: Callable[[int, int], None]) -> None:
    """Tell a shell, or its group, that the client is gone, as adbd does; kill it if it takes no notice."""
    with contextlib.suppress(ProcessLookupError):
        kill(process.pid, signal.SIGHUP)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
        return
    with contextlib.suppress(ProcessLookupError):
        kill(process.pid, signal.SIGKILL)
    process.wait()
