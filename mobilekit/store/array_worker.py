"""A worker that runs models: arrays go to it and come from it in files."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from mobilekit.store.files import save_arrays
from mobilekit.store.worker import Worker


class ArrayWorker:
    """A process that runs models while the block lasts.

    Args:
        worker: Takes requests with `inputs` and `outputs`, paths of .npz files with arrays by name.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> Self:
        """Start the process."""
        self._worker.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self._worker.__exit__(kind, error, trace)

    def _ask(self, request: dict[str, Any]) -> Any:
        """Return the reply to a request; what the worker raises is told in words of the process's own."""
        return self._worker.ask(request)

    def _run(self, request: dict[str, Any], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Return what a model gives for inputs, by name, and the reply."""
        given, made = (self._worker.folder / name for name in ("inputs.npz", "outputs.npz"))
        save_arrays(given, inputs)
        reply = self._ask({**request, "inputs": str(given), "outputs": str(made)})
        with np.load(made) as outputs:
            return dict(outputs), reply
