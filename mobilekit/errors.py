"""The errors that a user sees: what happened, why, and what to do next.

Each class carries the exit code of the command line: 1 a gate or parity failed, 2 usage, 3 a device failed,
4 a tool failed.
"""

from __future__ import annotations

import difflib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path


class MobilekitError(Exception):
    """Base of every error that mobilekit raises on purpose.

    Args:
        what: One sentence that says what happened.
        hint: What to do next; may be empty.
    """

    exit_code = 4

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what


class GateError(MobilekitError):
    """A proof, a parity limit or an integrity check failed."""

    exit_code = 1


class UsageError(MobilekitError):
    """The request cannot be carried out as it was made."""

    exit_code = 2


class DeviceError(MobilekitError):
    """A device is missing, refused us, or died."""

    exit_code = 3


class ToolError(MobilekitError):
    """A tool that mobilekit drives failed; its own words are in the message."""

    exit_code = 4


class InterruptedWork(MobilekitError):  # noqa: N818
    """Ctrl-C ended work that can go on: the exit code is a shell's, 128 and SIGINT."""

    exit_code = 130


class FullDiskError(ToolError):
    """The disk is full, whatever tool met that."""


class OldWordWarning(FutureWarning):
    """A word was used that has another name now; the next version takes only the new one."""


def first_line(told: BaseException | str, otherwise: str = "") -> str:
    """Return the first line of what an error or a tool said, without its full stop, to be quoted in a sentence.

    Args:
        told: What was caught or printed.
        otherwise: What stands for an empty message; without, an error's class and for a text `it said nothing`.
    """
    lines = str(told).strip().splitlines()
    nothing = otherwise or (type(told).__name__ if isinstance(told, BaseException) else "it said nothing")
    return (lines[0].rstrip().rstrip(".") if lines else "") or nothing


def without_secrets(text: str) -> str:
    """Return a text without the users, passwords, queries and fragments of the URLs in it.

    Libraries also name a URL by its path alone, as urllib3's `with url: /x?sig=...`: its query goes as well.
    """
    text = re.sub(r"(\w://)[^/\s]*@", r"\1", text)
    return re.sub(r"""((?:\w:/|(?<![^\s'"(]))/[^\s'"?#]*)[?#](?:[^\s'"]*[^\s'":.,;)])?""", r"\1", text)


def users_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the last line of the user's own code that an error came through; None where it is mobilekit's own fault.

    Code of the user's is what is neither mobilekit's nor installed nor Python's.
    """
    own, python = str(Path(__file__).parent), sysconfig.get_path("stdlib")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = str(Path(frame.filename).absolute())
        if file.startswith(own + os.sep):
            return None
        parts = Path(file).parts
        installed = "site-packages" in parts or "dist-packages" in parts or file.startswith(python + os.sep)
        if not installed and not frame.filename.startswith("<"):
            return frame
    return None


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Return a hint that names the known words nearest to a misspelled one.

    Args:
        word: What the user wrote.
        known: The words that would have been right.
        count: How many to name at most.
    """
    known = sorted(known)
    written = {each.lower(): each for each in known}
    close = [written[each] for each in difflib.get_close_matches(word.lower(), written, n=count, cutoff=0.5)]
    return f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(known) or 'none'}."
