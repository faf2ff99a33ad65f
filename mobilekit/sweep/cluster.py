"""Where a sweep runs: processes of this machine, or a cluster that exists."""

from __future__ import annotations

import logging
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mobilekit.errors import ToolError, UsageError, first_line, without_secrets
from mobilekit.store.versions import installed_version

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

STEP_BYTES = 2 * 2**30
"""What a conversion needs: of the models of the zoo, a process of one core stays below it."""
STEP = "step"
"""What of a worker a step takes that works on its cores, where the worker announces any."""
PHONE = "phone:"
"""Before the serial number or model of a phone: what of a worker a bench on that takes."""
NEEDED = ("distributed", "pyarrow", "cryptography")
_CONNECT_SECONDS = 10.0
_SETTINGS = {
    # Whoever submits decides on another try: dask would count a death against all that its worker was given.
    "distributed.scheduler.allowed-failures": 0,
    # A worker that dies twice in this time is otherwise never started again.
    "distributed.deploy.lost-worker-timeout": "1 hour",
    # A worker's own memory is small, and the child's is not counted.
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # Where the only worker that has a phone is gone, its benches are given back, to fail with the reason.
    "distributed.scheduler.no-workers-timeout": "5 minutes",
    # A busy machine is no fault of the scheduler's.
    "distributed.admin.tick.limit": "1 hour",
}


def check_installed() -> None:
    """See that what sweeps need is installed.

    Raises:
        ToolError: It is not.
    """
    missing = [name for name in NEEDED if installed_version(name) is None]
    if missing:
        raise ToolError(
            f"Sweeps need {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
            "In mobilekit's folder: pip install '.[sweep]'",
        )


def be_quiet() -> None:
    """Keep dask from telling what it does: a worker that dies is told in a line of ours."""
    import distributed

    for name in (distributed.__name__, "distributed.nanny", "distributed.scheduler", "distributed.core", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def workers_here() -> int:
    """Return how many steps may run at once on this machine: as cores and memory allow, and one at least."""
    import psutil
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(int(CPU_COUNT), int(free) // STEP_BYTES))


@dataclass
class Cluster:
    """A client of a scheduler, and the processes that were started for it."""

    client: Client
    own: LocalCluster | None
    wanted: int
    """How many processes of its own it has."""

    resources: frozenset[str] = frozenset()
    """What its workers announced when they were last looked at."""

    def width(self) -> int:
        """Return how many steps run at once; 0 where no worker is there, or the scheduler does not answer."""
        if self.own is not None:
            return self.wanted
        try:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        except Exception:  # what dask raises of a lost scheduler, which `check` tells
            return 0
        self.resources = frozenset(name for worker in workers for name, room in worker["resources"].items() if room)
        return sum(int(worker["nthreads"]) for worker in workers)

    def check(self) -> None:
        """See that the cluster lives, and start processes anew that were lost for good.

        Raises:
            ToolError: The scheduler is gone.
        """
        if self.client.status not in ("running", "connecting", "newly-created"):
            raise ToolError(
                f"The scheduler {self._address} is gone.", "Nothing that was done is lost: go on with --resume."
            )
        if self.own is not None and len(self.own.workers) < self.wanted:
            self.own.scale(self.wanted)

    @property
    def _address(self) -> str:
        return str(getattr(self.client, "_start_arg", "") or "of the sweep")


@contextmanager
def open_cluster(scheduler: str | None = None, workers: int | None = None, **more: Any) -> Iterator[Cluster]:
    """Start processes on this machine, or connect to a scheduler, while the block lasts.

    The processes of this machine talk over TLS with keys that are made for the one sweep: a scheduler runs what it is
    sent, and other users of the machine could send it something.

    Args:
        scheduler: Address of a scheduler, such as `tcp://host:8786`; None starts processes here.
        workers: How many; as cores and memory allow without.
        more: Settings of dask over those that a sweep has.

    Raises:
        ToolError: A package is missing, there is no scheduler, or its workers have another mobilekit.
    """
    check_installed()
    import dask
    from distributed import Client, LocalCluster

    be_quiet()
    with dask.config.set({**_SETTINGS, **more}):
        if scheduler is not None:
            check_address(scheduler)
            with Client(scheduler, set_as_default=False) as client:
                _wait_for_workers(client, scheduler)
                check_versions(client.run(version_here, on_error="return"))
                yield Cluster(client, None, 0)
            return
        count = workers or workers_here()
        with TemporaryDirectory(prefix="mobilekit-sweep-", ignore_cleanup_errors=True) as scratch:
            with _without_ctrl_c():
                own = LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    # Without, its web server takes port 8787 of all of the machine's addresses, or says that it cannot.
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0", "dashboard": False},
                    security=True,
                    memory_limit=0,
                    local_directory=scratch,
                    silence_logs=logging.CRITICAL,
                )
            with own, Client(own, set_as_default=False) as client:
                yield Cluster(client, own, count)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Let processes that are started in the block ignore Ctrl-C, which is this one's: they end with it, in silence."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check_address(scheduler: str) -> None:
    """See that something listens where a scheduler is said to be: dask itself would try for long, and tell much.

    Raises:
        ToolError: Nothing does.
        UsageError: It is no address.
    """
    found = re.fullmatch(r"(?:tcp|tls)://(\[.+\]|[^:/]+):(\d{1,5})", scheduler)
    if found is None:
        raise UsageError(
            f"{without_secrets(scheduler)} is no address of a scheduler.", "Write tcp://HOST:PORT, or tls://HOST:PORT."
        )
    try:
        with socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=_CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise ToolError(f"There is no scheduler at {scheduler}: {why}.", "`dask scheduler` starts one.") from error


def version_here() -> str:
    """Return mobilekit's version where this runs: on a worker."""
    from mobilekit import __version__

    return __version__


def check_versions(found: Mapping[str, object]) -> None:
    """Refuse workers that have another mobilekit than this process, or none: their steps would be others.

    Args:
        found: What `version_here` gave, or raised, by the address of a worker.

    Raises:
        ToolError: There is such a worker.
    """
    for address, version in found.items():
        if version != version_here():
            has = "no mobilekit that can be imported" if isinstance(version, Exception) else f"mobilekit {version}"
            raise ToolError(
                f"The worker {address} has {has}, and this is {version_here()}.", "Install the same version there."
            )


def workers_for_steps(client: Client) -> list[str]:
    """Return the addresses of the workers that take steps, and not benches of their phones alone."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return [address for address, each in workers.items() if not each["resources"] or each["resources"].get(STEP)]


def _wait_for_workers(client: Client, scheduler: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not client.nthreads():
        if time.monotonic() > deadline:
            raise ToolError(f"{scheduler} has no workers.", f"Start some: dask worker {scheduler} --nthreads 1")
        time.sleep(0.2)
