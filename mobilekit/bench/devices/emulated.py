"""TFLite files, run by LiteRT's ARM code under qemu: for parity, never for time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import numpy as np

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.bench.devices.emulator_setup import command, find_problem, folder
from mobilekit.errors import DeviceError, ToolError
from mobilekit.store.interrupts import held_interrupts

_WORKER = ("-m", "mobilekit.bench.devices.emulated_worker")
_SOURCES = str(Path(__file__).parents[3])


class Emulator:
    """An ARM Python that serves requests while the block lasts.

    Args:
        worker: The command that runs `emulated_worker`; without, the ARM Python that was set up.

    Raises:
        DeviceError: It is not set up.
    """

    name = "emulated"

    def __init__(self, worker: Sequence[str] | None = None) -> None:
        problem = find_problem() if worker is None else None
        if problem:
            raise problem
        self._worker = list(worker or command(folder(), _WORKER, [_SOURCES]))

    def __enter__(self) -> Emulator:
        """Start the worker."""
        self._scratch = TemporaryDirectory(prefix="mobilekit-emulated-")
        self._log = Path(self._scratch.name) / "log"
        with held_interrupts(), self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own worker, without a shell
                self._worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what a worker that died did not read
                if pipe:
                    pipe.close()
        self._scratch.cleanup()

    def open(self, path: Path, layouts: Mapping[str, str]) -> Runtime:
        """Return a TFLite file as a runtime of this device."""
        return _EmulatedRuntime(self, path, dict(layouts))

    def run(self, path: Path, layouts: dict[str, str], inputs: Arrays) -> tuple[Arrays, int]:
        """Run a file, and return its outputs by name and the number of XNNPACK's partitions.

        Raises:
            DeviceError: The worker died.
            ToolError: LiteRT refused.
        """
        given, made = (Path(self._scratch.name) / name for name in ("inputs.npz", "outputs.npz"))
        np.savez(given, **inputs)
        request = {"path": str(path.absolute()), "layouts": layouts, "inputs": str(given), "outputs": str(made)}
        reply = self._ask(request)
        if "error" in reply:
            raise ToolError(f"On the emulated device: {reply['error']}")
        with np.load(made) as outputs:
            return dict(outputs), reply["delegates"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            code = self._process.wait()
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
            lines = self._log.read_text(errors="replace").strip().splitlines()
            raise DeviceError(f"The emulated device ended {how}: {lines[-1] if lines else 'it said nothing'}.")
        reply: dict[str, Any] = json.loads(line)
        return reply


class _EmulatedRuntime(Runtime):
    """A TFLite model on the emulated device."""

    def __init__(self, emulator: Emulator, path: Path, layouts: dict[str, str]) -> None:
        self._emulator, self._path, self._layouts = emulator, path, layouts
        here = LiteRTRuntime(path)
        self.name, self.inputs, self._partitions = path.name, here.inputs, here.partitions()

    def _run(self, inputs: Arrays) -> Arrays:
        """Run the model.

        Raises:
            DeviceError: XNNPACK takes part here and not there, so that other kernels would be measured.
        """
        outputs, partitions = self._emulator.run(self._path, self._layouts, inputs)
        if self._partitions and not partitions:
            raise DeviceError(
                f"XNNPACK does not run {self._path.name} on the emulated device, as it does here.",
                "Run `mobilekit devices setup-emulated` again.",
            )
        return outputs
