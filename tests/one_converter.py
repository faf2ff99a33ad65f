"""Conversions of many small nets in one process for each task: TensorFlow is imported once for all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mobilekit.convert import process
from mobilekit.store.worker import Worker, WorkerError, python_path


class OneConverter:
    """Answers what `run_json_worker` is asked, by processes that live on.

    Args:
        folder: For what the tools leave.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()
        self.workers: dict[str, Worker] = {}

    def ask(
        self, module: str, request: Any, *, arguments: list[str], environment: dict[str, str], **_others: Any
    ) -> Any:
        (task,) = arguments
        if task not in self.workers:
            (self.folder / task).mkdir(exist_ok=True)
            own = {**environment, "TMPDIR": str(self.folder), "PYTHONPATH": python_path()}
            command = [sys.executable, "-W", "ignore", "-m", module, task]
            worker = Worker(command, folder=self.folder / task, environment=own)
            self.workers[task] = self.stack.enter_context(worker)
        try:
            return self.workers[task].ask(request)
        except WorkerError as error:
            if error.code is not None:  # it is gone
                del self.workers[task]
            raise


@contextmanager
def one_converter(folder: Path) -> Iterator[None]:
    """Within the block, conversions go to processes that live as long as it."""
    converter = OneConverter(folder)
    with converter.stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "run_json_worker", converter.ask)
        yield
