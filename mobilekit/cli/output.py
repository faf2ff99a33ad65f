"""Where results, progress and errors go: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

_PIPE_WIDTH = 200
# A table in a pipe or file must not be cut to the width of a terminal that is not there.
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a JSON value, and nothing else, to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def progress(start: str) -> Iterator[Callable[[str], None]]:
    """Show what goes on while it goes on, on a terminal; stay quiet in a pipe."""
    if not err.is_terminal:
        yield lambda _message: None
        return
    with err.status(start) as status:
        yield lambda message: status.update(message)


def fail(message: str, hint: str = "") -> None:
    """Print an error and what to do next."""
    err.print("error:", style="bold red", end=" ")
    err.print(message, markup=False)
    if hint:
        err.print(hint, markup=False)
