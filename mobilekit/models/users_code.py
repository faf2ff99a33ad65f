"""What an error of the user's own code is told as: its type, its message, its file and its line."""

from __future__ import annotations

from pathlib import Path

from mobilekit.errors import first_line, users_frame


def told(error: BaseException) -> str:
    """Return an error's type and the first line of its message."""
    if isinstance(error, SystemExit):
        return f"it ends the program by sys.exit({error.code!r})"
    words = first_line(error).rstrip(".")
    return words if words == type(error).__name__ else f"{type(error).__name__}: {words}"


def line_of(error: BaseException, named: Path | None = None) -> str:
    """Return the line of the user's code that an error came up in; nothing where it came up in none.

    Args:
        error: What the code raised.
        named: The file that the message names already; another has its name before the line.
    """
    frame = users_frame(error)
    if frame is None:
        return ""
    is_named = named is not None and Path(frame.filename).absolute() == named.absolute()
    return f" (line {frame.lineno})" if is_named else f" ({frame.filename}, line {frame.lineno})"
