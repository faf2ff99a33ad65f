"""An adb server of our own: on its own port, with its own home, seeing nothing but what it is told to connect to."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from pathlib import Path

_PATIENCE = 20.0
_LENGTH_DIGITS = 4


class AdbServer:
    """A running adb server.

    Args:
        adb: The program.
        home: A folder for its keys and logs.

    Raises:
        TimeoutError: It did not come up.
    """

    def __init__(self, adb: Path, home: Path) -> None:
        self.port = _free_port()
        self.environment = {
            "ANDROID_ADB_LOG_PATH": str(home / "adb.log"),
            "HOME": str(home),
            "TMPDIR": str(home),
            "ADB_MDNS": "0",
            "ADB_MDNS_AUTO_CONNECT": "0",
            # Without a USB controller adb 36 would wait for one for three seconds.
            "ADB_USB": "0",
            "ADB_LIBUSB": "0",
            # No emulators either: those scans find a device at a port of theirs a second time.
            "ADB_EMU": "0",
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",
            "ANDROID_ADB_SERVER_PORT": str(self.port),
        }
        self._process = subprocess.Popen(
            [adb, "-P", str(self.port), "nodaemon", "server"],
            env={**_without_adb_variables(), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait(adb)

    @property
    def runs(self) -> bool:
        """Whether it was not stopped."""
        return self._process.poll() is None

    def ask(self, request: str) -> str:
        """Send a request such as `host:version`; return the answer's text.

        Raises:
            OSError: There is no server, or it said no.
        """
        with socket.create_connection(("127.0.0.1", self.port), _PATIENCE) as link, link.makefile("rb") as answer:
            link.sendall(f"{len(request):04x}{request}".encode())
            if answer.read(_LENGTH_DIGITS) != b"OKAY":
                raise OSError(answer.read().decode())
            return answer.read()[_LENGTH_DIGITS:].decode()

    def state(self, serial: str) -> str:
        """Return the state of a device as `adb devices` shows it; empty if it is not listed."""
        listed = dict(line.split("\t") for line in self.ask("host:devices").splitlines())
        return listed.get(serial, "")

    def stop(self) -> None:
        """End the server, and one that a client may have started in its place."""
        with contextlib.suppress(OSError):
            self.ask("host:kill")
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self, adb: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.ask("host:version")
                return
            time.sleep(0.01)
        self._process.kill()
        self._process.wait()
        raise TimeoutError(f"{adb} did not start a server")


def _free_port() -> int:
    """Return a port below those that the system gives to outgoing connections, so that none takes it before us."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


def _without_adb_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ADB_", "ANDROID_"))}
