"""Work in a process of its own: a JSON request a line on its standard input, a JSON reply a line on its output.

What it prints, itself or through a tool, goes to its log. It ends when the process that started it does, however that
ends; `worker_loop` is the other side.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from mobilekit.store.interrupts import held_interrupts

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"(ERROR|\w*(Error|Exception))\b")
_SOURCES = str(Path(__file__).parents[2])


class WorkerError(Exception):
    """A worker did not do what it was asked to.

    Args:
        words: What it said.
        code: Its exit status, negative for a signal; None where it lives on, or was killed for being late.
        tool: Which of its tools it blames.
        log: All that it printed.
        is_late: Whether it was killed because its time was up.
    """

    def __init__(
        self, words: str, code: int | None = None, tool: str | None = None, log: str = "", *, is_late: bool = False
    ) -> None:
        super().__init__(words)
        self.words, self.code, self.tool, self.log, self.is_late = words, code, tool, log, is_late

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it."""
        return signal.Signals(-self.code).name if self.code is not None and self.code < 0 else None

    @property
    def ending(self) -> str:
        """How it ended, to follow a name: `was ended by SIGSEGV`."""
        if self.signal:
            return f"was ended by {self.signal}"
        return "failed" if self.code is None else f"ended with exit status {self.code}"


class Worker:
    """A process that answers requests while the block lasts.

    Args:
        command: What to run; it must serve with `worker_loop.serve`.
        folder: Its working directory; without, a scratch folder that goes when the block ends.
        environment: Variables beside those of this process.
        log: The file for what it prints; without, one in its folder.
        around_start: What is to hold while the process is started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        around_start: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._command, self._environment = list(command), dict(environment or {})
        self._given_folder, self._log, self._around_start = folder, log, around_start or nullcontext()
        self._scratch: TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._begins = self._replied = 0
        """Where in the log the output of the request at hand begins, and where it stood at the last reply."""

    def __enter__(self) -> Worker:
        """Start the process."""
        if self._given_folder is None:
            self._scratch = TemporaryDirectory(prefix="mobilekit-")
            self.folder = Path(self._scratch.name)
        else:
            self.folder = self._given_folder
        self._log = self._log or self.folder / "log"
        try:
            with held_interrupts(), self._around_start, self._log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own worker, without a shell
                    self._command,
                    cwd=self.folder,
                    env={**os.environ, **self._environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, and whatever it started."""
        self._end()

    def ask(self, request: Any, seconds: float | None = None) -> Any:
        """Return the reply to a request, JSON both.

        Args:
            request: What to do; paths in it must be absolute.
            seconds: When to kill the worker.

        Raises:
            WorkerError: It failed, died, answered with something else than JSON, or was late.
        """
        process, is_late = self._process, threading.Event()
        assert process and process.stdin and process.stdout
        self._begins = self._replied  # not the log's end: a worker that died at its start has said why

        def stop() -> None:
            is_late.set()
            self._kill()

        timer = threading.Timer(seconds or 0, stop)
        timer.daemon = True  # Ctrl-C while it starts leaves it running, and nobody waits for it then
        line = b""
        try:
            if seconds is not None:
                timer.start()
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):  # a part of a reply is none
            code = process.wait()
            log = self.log()
            raise WorkerError(last_words(log), None if is_late.is_set() else code, log=log, is_late=is_late.is_set())
        self._replied = self._log.stat().st_size if self._log and self._log.is_file() else 0
        return self._result(line)

    def log(self) -> str:
        """Return what the worker has printed for the request at hand, without colors."""
        assert self._log
        said = self._log.read_bytes()[self._begins :] if self._log.is_file() else b""
        return _COLOR.sub("", said.decode(errors="replace"))

    def _result(self, line: bytes) -> Any:
        try:
            reply: dict[str, Any] = json.loads(line)
            if "result" in reply:
                return reply["result"]
            words, tool = reply["error"], reply.get("tool")
        except (ValueError, TypeError, KeyError) as error:
            said = line.decode(errors="replace").strip()[:80]
            raise WorkerError(f"it answered with {said!r}, which is no reply", log=self.log()) from error
        raise WorkerError(words or last_words(self.log()), tool=tool, log=self.log())

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):  # the group is gone; macOS says the latter
                os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self) -> None:
        self._kill()
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(BrokenPipeError):  # what a worker that died did not read
                    if pipe:
                        pipe.close()
        if self._scratch is not None:
            self._scratch.cleanup()


def run_json_worker(module: str, request: Any, *, seconds: float | None = None, **more: Any) -> Any:
    """Have one request answered by a module of ours in a process of its own; see `Worker`.

    Args:
        module: Serves when it is run as a program.
        request: JSON data; paths must be absolute.
        seconds: When to kill the worker.
        more: Further arguments of `Worker`.

    Raises:
        WorkerError: It failed, died, answered with something else than JSON, or was late.
    """
    with json_worker(module, **more) as worker:
        return worker.ask(request, seconds)


def json_worker(
    module: str, arguments: Sequence[str] = (), *, environment: Mapping[str, str] | None = None, **more: Any
) -> Worker:
    """Return a worker that is a module of ours, run as a program with these arguments; see `Worker` for the rest."""
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    return Worker(command, environment={**(environment or {}), "PYTHONPATH": python_path()}, **more)


# What another Python runs to find this package, and nothing else of this one's.
_ELSEWHERE = """
import importlib.util, runpy, sys
folder, module = sys.argv[1:]
file, parts = folder + "/__init__.py", [folder]
found = importlib.util.spec_from_file_location("mobilekit", file, submodule_search_locations=parts)
sys.modules["mobilekit"] = importlib.util.module_from_spec(found)
found.loader.exec_module(sys.modules["mobilekit"])
runpy.run_module(module, run_name="__main__")
"""


def elsewhere(python: str, module: str, *, environment: Mapping[str, str] | None = None, **more: Any) -> Worker:
    """Return a worker that is a module of ours, run by the Python of another environment; see `Worker` for the rest.

    Args:
        python: That Python. It must have what the module imports, but for mobilekit itself.
        module: Serves when it is run as a program.
        environment: Variables beside those of this process.
        more: Further arguments of `Worker`.
    """
    command = [python, "-W", "ignore", "-c", _ELSEWHERE, str(Path(__file__).parents[1]), module]
    return Worker(command, environment={**(environment or {}), "PYTHONPATH": ""}, **more)


def python_path() -> str:
    """Return a PYTHONPATH by which a worker imports what this process imports, also from a checkout not installed."""
    return os.pathsep.join(filter(None, [_SOURCES, os.environ.get("PYTHONPATH")]))


def last_words(log: str) -> str:
    """Return the last line of a log that is an error's, or else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("INFO")]
    return ([line for line in lines if _ERROR.match(line)] or lines or ["it said nothing"])[-1]
