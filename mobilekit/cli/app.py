"""The commands, and how each error ends."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, TextIO

import typer

from mobilekit import __version__
from mobilekit.cli.output import err, fail
from mobilekit.errors import MobilekitError, OldWordWarning, users_frame
from mobilekit.store import memory

COMMANDS = (
    "models",
    "recipes",
    "export",
    "diff",
    "input",
    "ranges",
    "quantize-search",
    "bench",
    "devices",
    "tune",
    "recover",
    "sweep",
    "worker",
    "doctor",
    "setup-executorch",
    "inspect",
    "goldens",
    "app",
    "report",
    "card",
    "verify",
    "rewrites",
    "schema",
)
"""In the order of the help; each is a module of this package with a function of its name, or with an `app`."""
_MODULES = {"app": "app_project"}
"""Those of another name than the command."""

INTERRUPTED = 130
TERMINATED = 143
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EBUSY, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mobilekit {__version__}")  # noqa: T201
        raise typer.Exit


def common(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback and the tools' output of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""
    if debug:
        os.environ["MOBILEKIT_DEBUG"] = "1"


def application(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands; only their modules are imported."""
    app = typer.Typer(
        help="Take a PyTorch vision model to ONNX and TFLite, and prove what arrived there.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(common)
    for command in commands:
        name = _MODULES.get(command, command.replace("-", "_"))
        module = import_module(f"mobilekit.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=command)
        else:
            app.command(command)(getattr(module, name))
    return app


def main() -> None:
    """Run the command line; every error ends with its exit code and without a traceback, unless --debug."""
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(TERMINATED))  # so that scratch folders go
    warnings.showwarning = _show_warning
    memory.collect_rarely()
    first = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        code = application([first] if first in COMMANDS else COMMANDS)(prog_name="mobilekit", standalone_mode=False)
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C, without a word
            raise KeyboardInterrupt
    except BaseException as error:
        sys.exit(_end(error))
    sys.exit(code if isinstance(code, int) else 0)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell the user of an old word in a line, and of all else as Python does."""
    if issubclass(category, OldWordWarning):
        err.print(f"note: {message}")
    else:
        (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))


def _end(error: BaseException) -> int:
    """Tell the user of an error and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if os.environ.get("MOBILEKIT_DEBUG") and not isinstance(error, KeyboardInterrupt | typer.Exit):
        err.print_exception()
        for note in getattr(error, "__notes__", []):
            err.print(note)
    if isinstance(error, MobilekitError):
        fail(error.what, error.hint)
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        fail("interrupted; nothing was left behind.")
        return INTERRUPTED
    if hasattr(error, "format_message"):  # click's own usage errors
        message = error.format_message().replace(": Value error, ", ": ")  # where click tells what pydantic raised
        if message:  # without a command, the help was printed and is all there is to say
            fail(message, "Add --help to see what the command takes.")
        return 2
    if isinstance(error, OSError) and error.errno in _FULL:
        fail(f"The disk is full: {error}.", "Make room, or choose another place with -o. Nothing was left behind.")
        return 4
    if isinstance(error, OSError):
        place = f": {_shown(error.filename)}" if error.filename else ""
        hint = "Choose another place with -o." if error.errno in _NOT_WRITABLE else ""
        if isinstance(error, FileNotFoundError):
            hint = "What is to be read has to be there; for what is to be written, choose another place with -o."
        fail(f"{error.strerror or error}{place}.", hint)
        return 4
    if frame := users_frame(error):
        fail(f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}", "This is raised by that code.")
        return 2
    fail(
        f"{type(error).__name__}: {error}",
        "This is a fault of mobilekit: report it with what `mobilekit --debug ...` shows.",
    )
    return 4


def _shown(file: str | bytes | int) -> str:
    """Return a file as its user knows it: what is written beside it first has a name of its own."""
    path = Path(os.fsdecode(file) if isinstance(file, str | bytes) else str(file))
    made = re.fullmatch(r"\.(.+)\.partial-.*", path.name)
    return str(path.with_name(made[1]) if made else path)
