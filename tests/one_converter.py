"""Conversions of many small nets in one process: TensorFlow is imported once for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mobilekit.convert import process
from mobilekit.store.worker import Worker


@contextmanager
def one_converter(folder: Path) -> Iterator[None]:
    """Within the block, conversions go to one process, whatever their scratch folders; its own is `folder`."""
    worker_in = process._worker_in

    def shared(_scratch: Path) -> AbstractContextManager[Worker]:
        if folder not in process._SHARED:  # the first, or the one before has died
            process._SHARED[folder] = process._started(folder).__enter__()
        return worker_in(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_worker_in", shared)
        try:
            yield
        finally:
            if folder in process._SHARED:
                process._SHARED.pop(folder).__exit__(None, None, None)
