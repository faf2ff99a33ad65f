"""Files of ExecuTorch's, run by its own runtime."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.executorch.environment import start
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.runtime import Arrays, Runtime, as_output, batches
from mobilekit.errors import ToolError, first_line
from mobilekit.store.array_worker import ArrayWorker
from mobilekit.store.worker import Worker, WorkerError

_WORKER = "mobilekit.artifacts.executorch.runtime_worker"
_SECONDS = 600
"""For all inputs of a ledger."""


class _Process(ArrayWorker):
    """ExecuTorch's runtime in a process of its own."""

    def run(self, path: Path, names: Sequence[str], batch: int, inputs: Arrays) -> list[NDArray[Any]]:
        """Return each output of a file, in their order, as (runs, ...)."""
        request = {"path": str(path.absolute()), "names": list(names), "batch": batch}
        outputs, _reply = self._run(request, inputs)
        return [outputs[str(number)] for number in range(len(outputs))]

    def _ask(self, request: Mapping[str, Any]) -> Any:
        return self._worker.ask(request, seconds=_SECONDS)


class ExecuTorchRuntime(Runtime):
    """A .pte file on the CPU. Its process lives as long as this object.

    Args:
        path: The file.
        worker: What answers instead, for tests.

    Raises:
        ToolError: The file is not whole, or of another version; or ExecuTorch is not there.
    """

    def __init__(self, path: Path, worker: Worker | None = None) -> None:
        found = read_pte(path)
        self.name, self.path = path.name, path
        self.inputs, self.outputs = found.inputs, found.outputs
        self._process = _Process(worker or start(_WORKER))
        self._process.__enter__()
        self.close = weakref.finalize(self, self._process.__exit__, None, None, None)

    def _run(self, inputs: Arrays) -> Arrays:
        """Run the model."""
        count, size = len(next(iter(inputs.values()))), self.batch
        given = {
            info.name: np.concatenate([*batches(inputs[info.name].astype(info.dtype, copy=False), size)])
            for info in self.inputs
        }
        try:
            columns = self._process.run(self.path, [info.name for info in self.inputs], size, given)
        except WorkerError as error:
            raise ToolError(f"ExecuTorch cannot run {self.name}: {_words(error)}.") from error
        return {
            info.name: np.concatenate([as_output(row, size) for row in column])[:count]
            for info, column in zip(self.outputs, columns, strict=True)
        }


def _words(error: WorkerError) -> str:
    if error.is_late:
        return f"it came to no end in {_SECONDS} s"
    said = first_line(error.words).rstrip(".")
    return said if error.code is None else f"its runtime {error.ending}: {said}"
