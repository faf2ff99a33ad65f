"""Where results, progress and errors go: results to standard output, everything else to standard error.

Everything is printed as it stands. Paths, names and messages are other people's text: `[bold]` in one is no markup, and
`:boom:` no picture.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.text import Text

from mobilekit.errors import UsageError

_PIPE_WIDTH = 200
_WIDEST = 1000
_UNREAD = 141
"""As a shell has it: 128 and SIGPIPE."""
_COUNTER = re.compile(r"\d+ (?:of \d+|s\b)")


class _Console(Console):
    """A console whose reader may go early, as `head` does."""

    def on_broken_pipe(self) -> None:
        """End as other tools do then, and not with 1, which says that a limit was missed."""
        self.quiet = True
        end_unread()


def end_unread() -> NoReturn:
    """End the process where nobody reads its output any more, without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
    raise SystemExit(_UNREAD)


def _console(*, stderr: bool, width: int | None = None) -> Console:
    # A table in a pipe or file must not be cut to the width of a terminal that is not there.
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = width or (None if is_terminal or stderr else _PIPE_WIDTH)
    return _Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False, width=width)


out, err = _console(stderr=False), _console(stderr=True)


def print_whole(table: RenderableType) -> None:
    """Print a table of figures at the width that it needs: a terminal that is narrower wraps it, and cuts no figure."""
    wide = _console(stderr=False, width=_WIDEST)
    needed = Measurement.get(wide, wide.options, table).maximum
    _console(stderr=False, width=max(out.width, needed)).print(table)


def print_json(value: Any) -> None:
    """Print a JSON value, and nothing else, to standard output."""
    try:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        end_unread()


@contextmanager
def progress(start: str) -> Iterator[Callable[[str], None]]:
    """Say what goes on as it starts: on a terminal in one line with its time, in a pipe in a line for each step.

    A step that counts, such as `round 3 of 10`, is one step; a pipe hears of its start alone.

    Args:
        start: What a terminal shows before the first step. A pipe hears nothing until then, so that a request that is
            refused is answered by its error alone.
    """
    if err.is_terminal:
        step = _Step(start)
        with err.status(step):
            yield step.start
        return
    heard: set[str] = set()

    def tell(message: str) -> None:
        step = _COUNTER.split(message)[0]
        if step not in heard:
            err.print(message)
        heard.add(step)

    yield tell


class _Step:
    """What is going on, and for how long."""

    def __init__(self, message: str) -> None:
        self.start(message)

    def start(self, message: str) -> None:
        self.message, self.since = message, time.monotonic()

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self.since
        return Text(f"{self.message} ({seconds:.0f} s)" if seconds >= 1 else self.message)


@contextmanager
def working(start: str) -> Iterator[Callable[[str], None]]:
    """Show what goes on in work of torch, in one thread: sums have one order then, and the same bits each time."""
    import torch

    torch.set_num_threads(1)
    with progress(start) as tell:
        yield tell


def check_place(path: Path, suffixes: Sequence[str], why: str) -> None:
    """Refuse a place for a file of a kind that is not written, in no folder, or in a bundle.

    Args:
        path: Where to write.
        suffixes: Of the files that are written, the usual one first.
        why: What is written, a sentence.

    Raises:
        UsageError: The place is none.
    """
    from mobilekit.store.bundle import refuse_inside_bundle  # a seventh of what all commands take to start

    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path} does not end in {suffixes[0]}.", why)
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", "Give the path of a file with -o.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.absolute().parent}.", "Make it, or choose another place with -o.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"{path.absolute().parent} cannot be written to.", "Choose another place with -o.")
    refuse_inside_bundle(path)


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse to write into a bundle, over a file that is read, or two files to one place.

    Args:
        outputs: Files to write; None for one that was not asked for.
        inputs: Files that are read.

    Raises:
        UsageError: A place is none.
    """
    from mobilekit.store.bundle import refuse_inside_bundle

    read = {path.resolve() for path in inputs if path}
    written: set[Path] = set()
    for place in filter(None, outputs):
        refuse_inside_bundle(place)
        if place.resolve() in read:
            raise UsageError(f"{place} is read, and would be written over.", "Choose another place.")
        if place.resolve() in written:
            raise UsageError(f"Two files would be written to {place}.", "Choose a place for each.")
        written.add(place.resolve())


def fail(message: str, hint: str = "") -> None:
    """Print an error and what to do next."""
    err.print("error:", style="bold red", end=" ")
    err.print(message)
    if hint:
        err.print(hint)
