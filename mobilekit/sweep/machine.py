"""One machine shared by steps that may run beside each other, and a bench that runs alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilekit.bench.devices.lock import folder_of_locks


@contextmanager
def beside_others() -> Iterator[None]:
    """Do work that may run beside other such work on this machine, and not beside what runs `alone`."""
    with _held("sweep-turn", fcntl.LOCK_SH):  # what waits to be alone lets nobody in
        pass
    with _held("sweep-machine", fcntl.LOCK_SH):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Do work while no other step of the user's sweeps runs on this machine.

    It waits until those that run have ended, and those that come later wait for it. The system gives the locks back
    when a process ends, however it ends: each is held by the process that works, and not by one that waits for it.
    """
    with _held("sweep-turn", fcntl.LOCK_EX), _held("sweep-machine", fcntl.LOCK_EX):
        yield


@contextmanager
def _held(name: str, how: int) -> Iterator[None]:
    descriptor = os.open(folder_of_locks() / Path(name), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
