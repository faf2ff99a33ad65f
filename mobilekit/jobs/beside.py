"""Work in a thread, beside what waits for another process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")
Check = Callable[[str], None]


class Beside(Generic[T]):
    """Work that is done while a block waits for another process.

    PyTorch and NumPy let other threads run while they compute, so that two processors are used. Where only one may be,
    the work is done when its result is asked for.

    Args:
        work: Returns the result. It is given a function to call between its steps, with what it does.
        progress: Is told what goes on, where the work is not done beside something else.
        is_beside: Whether it is.
    """

    def __init__(self, work: Callable[[Check], T], progress: Check, is_beside: bool) -> None:
        self._work, self._progress, self._is_beside = work, progress, is_beside
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._threads = torch.get_num_threads()
        self._done: list[T] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> None:
        """Start the work."""
        if self._is_beside:
            self._thread = threading.Thread(target=self._run, name="beside")
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Where the block failed, stop the work at its next step."""
        if error is not None and self._thread is not None:
            self._stop.set()
            self._thread.join()

    def result(self) -> T:
        """Return the result, once it is there; raise what the work raised."""
        if self._thread is None:
            return self._work(self._progress)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._done[0]

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # OpenMP counts for each thread
        try:
            self._done.append(self._work(self._check))
        except BaseException as error:
            self._failure = error

    def _check(self, _message: Any) -> None:
        if self._stop.is_set():
            raise InterruptedError
