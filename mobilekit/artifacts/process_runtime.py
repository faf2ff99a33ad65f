"""Files that a runtime in a process of its own runs."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.runtime import Arrays, Runtime, TensorInfo, as_output, batches
from mobilekit.errors import ToolError, first_line
from mobilekit.store.array_worker import ArrayWorker
from mobilekit.store.worker import Worker, WorkerError

_SECONDS = 600
"""For all inputs of a ledger."""


class _Process(ArrayWorker):
    """A runtime in a process of its own."""

    def run(self, path: Path, names: Sequence[str], batch: int, inputs: Arrays) -> list[NDArray[Any]]:
        """Return each output of a file, in their order, as (runs, ...)."""
        request = {"path": str(path.absolute()), "names": list(names), "batch": batch}
        outputs, _reply = self._run(request, inputs)
        return [outputs[str(number)] for number in range(len(outputs))]

    def _ask(self, request: Mapping[str, Any]) -> Any:
        return self._worker.ask(request, seconds=_SECONDS)


class ProcessRuntime(Runtime):
    """A file that a process runs, which lives as long as this object.

    Args:
        path: The file.
        tool: What runs it, in words.
        inputs: What it takes.
        outputs: What it gives.
        worker: Takes requests with `path` of the file, `batch`, how many inputs it takes at once, `names` of its inputs
            in their order, and `inputs` and `outputs`, paths of .npz files: inputs (N, ...) by name, N a multiple of
            the batch, and each output of each run, (N / batch, ...), by its number.
    """

    def __init__(
        self, path: Path, tool: str, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], worker: Worker
    ) -> None:
        self.name, self.path, self.inputs, self.outputs, self._tool = path.name, path, inputs, outputs, tool
        self._process = _Process(worker)
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
            raise ToolError(f"{self._tool} cannot run {self.name}: {_words(error)}.") from error
        return {
            info.name: np.concatenate([as_output(row, size) for row in column])[:count]
            for info, column in zip(self.outputs, columns, strict=True)
        }


def _words(error: WorkerError) -> str:
    if error.is_late:
        return f"it came to no end in {_SECONDS} s"
    said = first_line(error.words).rstrip(".")
    return said if error.code is None else f"its runtime {error.ending}: {said}"
