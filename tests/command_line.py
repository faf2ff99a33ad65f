"""The command line for tests: in this process, which is quick, or in one of its own, as a user has it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from mobilekit.cli import app as application

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Said:
    """What a command wrote, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


Cli = Callable[..., Said]


def run_here(*arguments: str | Path | float, cwd: Path | None = None, **environment: str) -> Said:
    """Run the command line in this process.

    Nothing of it stays: neither the folder, the environment, nor the handler of SIGTERM.
    """
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["mobilekit", *map(str, arguments)])
        patch.setenv("MOBILEKIT_DEBUG", "")
        for name, value in environment.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            application.main()
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, handler)
    assert isinstance(code, int)
    return Said(code, out.getvalue(), err.getvalue())


def run_apart(*arguments: str | Path | float, cwd: Path | None = None, **environment: str) -> Said:
    """Run the command line in a process of its own: where imports, signals or the way it ends are at stake."""
    done = subprocess.run(
        [sys.executable, "-m", "mobilekit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=900,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def heed_interrupts() -> None:
    """Undo what a shell does to its background jobs, the tests among them perhaps: before a process starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
