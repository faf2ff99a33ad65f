"""This machine as a device."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from mobilekit.bench.devices.base import Device, DeviceFacts, DeviceState, Finished, Workspace
from mobilekit.bench.devices.local_facts import read_facts, read_state
from mobilekit.bench.devices.lock import locked
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.interrupts import held_interrupts

# What a shell answers where a program cannot be started.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_KILLED = 128  # and the signal's number


class LocalDevice(Device):
    """The machine that mobilekit runs on."""

    @cached_property
    def facts(self) -> DeviceFacts:
        """What does not change, read once."""
        return read_facts()

    def read_state(self) -> DeviceState:
        """Read what changes."""
        return read_state(self.facts.cores)

    @contextmanager
    def open_workspace(self) -> Iterator[Workspace]:
        """Lock the machine, and give a temporary folder; see `Device.open_workspace`."""
        with locked("local"), tempfile.TemporaryDirectory(prefix="mobilekit-", ignore_cleanup_errors=True) as folder:
            yield LocalWorkspace(Path(folder))


class LocalWorkspace(Workspace):
    """A temporary folder of this machine; see `Workspace`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment: dict[str, str] | None = None

    def install(self, file: Path, executable: bool = False) -> str:
        """Return the file's own path: it is there already; a program that may not be executed is copied first."""
        if not file.is_file():
            raise UsageError(f"{file} cannot be read: there is no such file.")
        if not executable or os.access(file, os.X_OK):
            return str(file.resolve())
        copy = self._folder / file.name
        try:
            shutil.copyfile(file, copy)
            copy.chmod(0o755)
        except OSError as error:
            raise DeviceError(f"{file} cannot be copied to {self._folder}: {error.strerror}.") from error
        return str(copy)

    def run(self, arguments: Sequence[str], *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        """Run a program in the folder; see `Workspace.run`. It ends with this process, unless that is killed."""
        process: subprocess.Popen[bytes] | None = None
        try:
            with held_interrupts(), pinned(cpu_mask):
                process = subprocess.Popen(  # noqa: S603 - what the user gave to be run, without a shell
                    list(arguments),
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            stdout, stderr = process.communicate(timeout=timeout)
        except FileNotFoundError:
            return Finished(_NOT_FOUND, "", f"{arguments[0]}: not found\n")
        except OSError as error:
            return Finished(_NOT_EXECUTABLE, "", f"{arguments[0]}: {error.strerror}\n")
        except subprocess.TimeoutExpired as error:
            raise DeviceError(
                f"{Path(arguments[0]).name} did not end within {timeout:g} s on this machine; it was killed.",
                "Give it more time, or less to do.",
            ) from error
        finally:
            if process is not None:
                _end(process)
        code = process.returncode if process.returncode >= 0 else _KILLED - process.returncode
        return Finished(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def bring_libraries(self, files: Sequence[Path]) -> None:
        """Copy shared libraries into a folder beside what runs; see `Workspace.bring_libraries`."""
        folder = self._folder / "lib"
        try:
            folder.mkdir(exist_ok=True)
            for file in files:
                shutil.copyfile(file, folder / file.name)
        except OSError as error:
            raise DeviceError(f"The libraries cannot be copied to {folder}: {error.strerror}.") from error
        self._environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}

    def read(self, path: str) -> bytes:
        """Return the content of a file; see `Workspace.read`."""
        try:
            return (self._folder / path).read_bytes()
        except OSError as error:
            raise DeviceError(f"{path} cannot be read: {error.strerror}.") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program, if it runs, and whatever it started."""
    with suppress(ProcessLookupError, PermissionError):  # the group is gone; macOS says the latter
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@contextmanager
def pinned(mask: str | None) -> Iterator[None]:
    """Let what is started in the block run only on the cores of a mask, if there is one; this thread's are put back.

    Raises:
        DeviceError: The system cannot do so, or has no such cores.
        UsageError: It is no mask.
    """
    if mask is None:
        yield
        return
    try:
        bits = int(mask, 16)
    except ValueError as error:
        raise UsageError(f"{mask!r} is no mask of cores.", "It is hexadecimal without 0x, as in f0.") from error
    if not hasattr(os, "sched_setaffinity"):
        raise DeviceError("Cores cannot be chosen on this system.", "Run it without a mask.")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {index for index in range(bits.bit_length()) if bits >> index & 1})
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"This machine has no cores of the mask {mask}.", "See its cores with `mobilekit devices`."
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
