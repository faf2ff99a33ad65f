"""A converter of a consumer's, run as a program."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run_tool(name: str, words: Sequence[str | Path], makes: str) -> None:
    """Run a program in the working directory.

    Args:
        name: As it is told.
        words: Its command line.
        makes: The file that has to be there then: some end well without it.

    Raises:
        SystemExit: It failed, or has not made its file.
    """
    code = subprocess.run(words, check=False).returncode
    if code < 0:
        raise SystemExit(f"{name} is ended by {signal.Signals(-code).name}")
    if code or not Path(makes).is_file():
        raise SystemExit(f"{name} makes no file, and ends with exit code {code}")
