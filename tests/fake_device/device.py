"""The fake device: its files, its daemon, and an adb server that is connected to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fake_device import android
from tests.fake_device.daemon import Daemon
from tests.fake_device.faults import Faults
from tests.fake_device.paths import Paths
from tests.fake_device.server import AdbServer
from tests.fake_device.shell import serve_shell
from tests.fake_device.sync import SyncService

_PATIENCE = 20.0
_MARK = "FAKE_ROOT"


def bundled_adb() -> Path:
    """Return the adb program in the adbutils wheel."""
    import adbutils

    return Path(adbutils.__file__).parent / "binaries" / "adb"  # adb_path() would prefer one on PATH


def fake_benchmark_model() -> Path:
    """Return the stand-in for benchmark_model: an executable script, to be pushed like the real program."""
    return Path(__file__).with_name("benchmark_model.sh")


def fake_model(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that pass for a TFLite file with the stand-in; another seed gives other bytes."""
    head = b"\x1c\x00\x00\x00TFL3" + seed.to_bytes(8, "little")
    return head + bytes(size - len(head))


class FakeDevice:
    """A device under `root`, connected to an adb server of its own while the block lasts.

    Args:
        root: The device's file system: a folder that is empty or missing.
        faults: What is wrong with it.
        adb: The adb program; the one in the adbutils wheel by default.
        beside: Another device whose adb server this one is to share.

    Attributes:
        root: The device's file system here.
        program: The adb program.
        adb_server: The adb server.
        serial: As `adb -s` takes it.
        state: A folder in which the device's programs count how often they ran.
        commands: The commands that clients sent, in order, as they sent them.
        faults: May be replaced while the device runs; `faulty` does so for a time.
    """

    def __init__(
        self, root: Path, faults: Faults | None = None, *, adb: Path | None = None, beside: FakeDevice | None = None
    ) -> None:
        self.commands: list[str] = []
        self.paths = Paths(root)
        self.root = self.paths.root
        self._faults = faults or Faults()
        self.program = adb or bundled_adb()
        self._beside = beside
        self.adb_server: AdbServer
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> FakeDevice:
        with contextlib.ExitStack() as stack:
            scratch = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="fake-device-", ignore_cleanup_errors=True))
            )
            self.state = scratch / "state"
            self.state.mkdir()
            android.install(self.root)
            stack.callback(self._kill_processes)
            self._daemon = self._start_daemon()
            stack.callback(self._daemon.close)
            self.serial = f"127.0.0.1:{self._daemon.port}"
            self.adb_server = self._beside.adb_server if self._beside else AdbServer(self.program, scratch)
            stack.callback(self._disconnect if self._beside else self.adb_server.stop)
            self._connect()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def faults(self) -> Faults:
        """What is wrong with the device now."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = self._daemon.faults = faults

    @property
    def server(self) -> str:
        """Host and port of the adb server."""
        return f"{self.server_host}:{self.server_port}"

    @property
    def server_host(self) -> str:
        """Where the adb server listens."""
        return "127.0.0.1"

    @property
    def server_port(self) -> int:
        """The port of the adb server."""
        return self.adb_server.port

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead a client of adb to this server, and keep it away from any other."""
        return dict(self.adb_server.environment)

    @contextlib.contextmanager
    def faulty(self, **switches: Any) -> Iterator[None]:
        """Let something be wrong for a time; see `Faults`. The device is connected anew before and after."""
        before = self.faults
        self._forget_history()
        self.faults = Faults(**switches)
        try:
            self.reconnect()
            yield
        finally:
            self.faults = before
            if self.adb_server.runs:
                self.reconnect()

    def stop_server(self) -> None:
        """End the adb server in the middle of things."""
        self.adb_server.stop()

    def reconnect(self) -> None:
        """End the connection and connect anew, as far as the faults allow."""
        self._disconnect()
        self._daemon.drop_connections()
        self._connect()

    def reset(self) -> None:
        """Make the device as it was at first: no files of clients, no processes, no latencies, no history."""
        self._kill_processes()
        for path in (self.root / "data/local/tmp").iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (self.root / "latency.json").unlink(missing_ok=True)
        self._forget_history()

    def adb(
        self, *arguments: str | Path, timeout: float = 30, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the adb program on this device; return what it left."""
        return subprocess.run(
            [self.program, "-s", self.serial, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            timeout=timeout,
            input=stdin,
        )

    def set_latencies(self, microseconds: Mapping[str, float]) -> None:
        """Say how long one inference takes with one thread, by a graph's file name or its SHA-256."""
        (self.root / "latency.json").write_text(json.dumps(dict(microseconds)))

    def files(self, folder: str = "/data/local/tmp") -> list[str]:
        """Return the paths of all files and folders below a folder of the device, sorted."""
        found = self.paths.to_host(folder).rglob("*")
        return sorted(f"/{path.relative_to(self.root)}" for path in found)

    def processes(self) -> list[int]:
        """Return the processes that run on the device."""
        mark = f"{_MARK}={self.root}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def _start_daemon(self) -> Daemon:
        shell = serve_shell(self.paths, self._environment, lambda: self.faults, self.commands)
        services = {
            "shell": shell,
            "exec:": shell,
            "sync:": lambda stream, _: SyncService(stream, self.paths, lambda: self.faults).run(),
        }
        return Daemon(android.BANNER, services, self._faults)

    def _environment(self) -> dict[str, str]:
        return {**android.environment(self.root, self.state), **self.faults.environment()}

    def _connect(self) -> None:
        """Connect, and wait for the state that the faults lead to.

        Raises:
            TimeoutError: It was not reached.
        """
        self._daemon.is_away = False
        self._wait_for_state("unauthorized" if self.faults.unauthorized else "device")
        if self.faults.offline:
            self._daemon.is_away = True
            self._daemon.drop_connections()
            self._wait_for_state("offline")

    def _wait_for_state(self, wanted: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (state := self.adb_server.state(self.serial)) != wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.serial} is {state or 'not there'}, not {wanted}")
            if state in ("", "offline"):
                self.adb_server.ask(f"host:connect:{self.serial}")
            time.sleep(0.005)

    def _disconnect(self) -> None:
        with contextlib.suppress(OSError):  # it was not connected
            self.adb_server.ask(f"host:disconnect:{self.serial}")

    def _forget_history(self) -> None:
        self.commands.clear()
        for count in self.state.iterdir():
            count.unlink()

    def _kill_processes(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
