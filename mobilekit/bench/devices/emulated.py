"""TFLite files, run by LiteRT's ARM code under qemu: for parity, never for time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.bench.devices.emulator_setup import command, find_problem, folder
from mobilekit.errors import DeviceError, ToolError
from mobilekit.store.array_worker import ArrayWorker
from mobilekit.store.worker import Worker, WorkerError

_WORKER = ("-m", "mobilekit.bench.devices.emulated_worker")
_SOURCES = str(Path(__file__).parents[3])


class Emulator(ArrayWorker):
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
        super().__init__(Worker(worker or command(folder(), _WORKER, [_SOURCES])))

    def open(self, path: Path, layouts: Mapping[str, str]) -> Runtime:
        """Return a TFLite file as a runtime of this device."""
        return _EmulatedRuntime(self, path, dict(layouts))

    def run(self, path: Path, layouts: dict[str, str], inputs: Arrays) -> tuple[Arrays, int]:
        """Run a file, and return its outputs by name and the number of XNNPACK's partitions.

        Raises:
            DeviceError: The worker died.
            ToolError: LiteRT refused.
        """
        outputs, reply = self._run({"path": str(path.absolute()), "layouts": layouts}, inputs)
        return outputs, reply["delegates"]

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            return self._worker.ask(request)
        except WorkerError as error:
            if error.code is None:
                raise ToolError(f"On the emulated device: {error.words}") from error
            raise DeviceError(f"The emulated device {error.ending}: {error.words}.") from error


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
