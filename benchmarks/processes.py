"""Commands that benchmarks run to their end: what each costs, and where to stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.export_cost import resident

ROOT = Path(__file__).parents[1]
PYTHON = "Python"
_VERSIONS = (
    "import importlib.metadata as m, json, platform, sys; "
    "known = {n: m.version(n) for n in sys.argv[1:] if any(m.distributions(name=n))}; "
    "print(json.dumps({**({'Python': platform.python_version()} if 'Python' in sys.argv else {}), **known}))"
)
_WALL_OF_LIMIT = 8
"""A command that waits takes no processor time: it is stopped after so many times its limit."""


@dataclass(frozen=True)
class Cost:
    """What a command took, its children included."""

    code: int
    """With which it ended; minus the signal's number where one ended it."""
    cpu: float
    """Seconds."""
    wall: float
    memory_mb: float
    """Largest sum of the resident sizes of its processes."""
    is_over: bool = False
    """Whether it was stopped, being over its limit."""
    problem: str | None = None
    """What went wrong, in a sentence, as the caller reads it."""


def variables() -> dict[str, str]:
    """Return the environment of a command: one thread, and this checkout first among the sources."""
    sources = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": sources}


def run(
    command: Sequence[str],
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    limit: float | None = None,
    every: float = 0.02,
) -> Cost:
    """Run a command to its end.

    Args:
        command: Its words.
        folder: Where it runs.
        log: What its output is appended to.
        environment: Its variables.
        limit: Seconds of processor time, its children's included, after which all of them are stopped.
        every: Seconds between looks at memory and processor time.
    """
    start, peak, is_over = time.perf_counter(), 0, False
    with log.open("a") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        process = psutil.Popen(list(command), cwd=folder, env=environment, start_new_session=True, **streams)
        try:
            while True:
                peak = max(peak, resident(process))
                if limit and (_spent(process) > limit or time.perf_counter() - start > _WALL_OF_LIMIT * limit):
                    is_over = True
                    os.killpg(process.pid, signal.SIGKILL)
                ended, status, used = os.wait4(process.pid, 0 if is_over else os.WNOHANG)
                if ended:
                    break
                time.sleep(every)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    seconds = used.ru_utime + used.ru_stime
    return Cost(os.waitstatus_to_exitcode(status), seconds, time.perf_counter() - start, peak / 2**20, is_over)


def _spent(process: psutil.Process) -> float:
    """Return the processor time of a process and of its children, in seconds."""
    total = 0.0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += sum(member.cpu_times()[:4])  # its own, and of children that it waited for
    except psutil.NoSuchProcess:
        pass
    return total


def versions(python: str | Path, packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that an interpreter has; `PYTHON` stands for the interpreter itself."""
    words = [str(python), "-c", _VERSIONS, *packages]
    found: dict[str, str] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    return found
