"""ExecuTorch in a process of its own: what times .pte files on this machine."""

from __future__ import annotations

from pathlib import Path

from mobilekit.artifacts.executorch.environment import PACKAGE, start, versions
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.bench.devices.local import pinned
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.bench.litert_engine import SLACK, read_times
from mobilekit.errors import DeviceError, UsageError, first_line
from mobilekit.store.worker import WorkerError

_WORKER = "mobilekit.bench.executorch_worker"


class ExecuTorchEngine(Engine):
    """Times files with the ExecuTorch that was set up, and its XNNPACK.

    Raises:
        ToolError: It is not there.
    """

    name = "ExecuTorch"

    def __init__(self) -> None:
        self._version = versions()[PACKAGE]

    def describe(self) -> EngineFacts:
        """Return the name and version of the package."""
        return EngineFacts(self.name, self._version, None)

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file; see `Engine.run`.

        Raises:
            DeviceError: It took too long, or there are no such cores.
            ToolError: The file is damaged.
            UsageError: A delegate is demanded: what runs a part stands in the file.
        """
        refuse_delegate(settings)
        found = read_pte(file)
        request = {
            "file": str(file.absolute()),
            "inputs": [[list(info.shape), info.dtype] for info in found.inputs],
            "threads": settings.threads,
            "runs": settings.runs,
            "warmup_runs": settings.warmup_runs,
            "max_seconds": settings.max_seconds,
        }
        seconds = 2 * settings.max_seconds + SLACK
        try:
            with pinned(settings.cpu_mask), start(_WORKER) as worker:
                reply = worker.ask(request, seconds)
        except WorkerError as error:
            if error.is_late:
                raise DeviceError(
                    f"ExecuTorch did not end within {seconds:g} s on this machine; it was killed."
                ) from error
            return Run(None, f"ExecuTorch {error.ending}: {first_line(error.words)}")
        inside = sum(sum(part.ops.values()) for part in found.parts)
        parts = f"{len(found.parts)} part{'' if len(found.parts) == 1 else 's'}"
        return read_times(reply, f"XNNPACK: {inside} of {inside + len(found.outside)} ops in {parts}")


def refuse_delegate(settings: RunSettings) -> None:
    """See that no delegate is demanded of a .pte file.

    Raises:
        UsageError: One is.
    """
    if settings.delegate is not None:
        raise UsageError("In a .pte file stands what runs each part of it.", "Leave --delegate out.")
