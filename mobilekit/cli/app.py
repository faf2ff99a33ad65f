"""The commands, and how each error ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from mobilekit import __version__
from mobilekit.cli import (
    bench,
    devices,
    diff,
    doctor,
    export,
    inspect,
    models,
    quantize_search,
    ranges,
    recipes,
    report,
    rewrites,
    tune,
    verify,
)
from mobilekit.cli.output import err, fail
from mobilekit.errors import MobilekitError

app = typer.Typer(
    help="Take a PyTorch vision model to ONNX and TFLite, and prove what arrived there.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("models")(models.models)
app.add_typer(recipes.app, name="recipes")
app.command("export")(export.export)
app.command("diff")(diff.diff)
app.command("ranges")(ranges.ranges)
app.command("quantize-search")(quantize_search.quantize_search)
app.command("bench")(bench.bench)
app.add_typer(devices.app, name="devices")
app.command("tune")(tune.tune)
app.command("doctor")(doctor.doctor)
app.command("inspect")(inspect.inspect)
app.command("report")(report.report)
app.command("verify")(verify.verify)
app.add_typer(rewrites.app, name="rewrites")

INTERRUPTED = 130
TERMINATED = 143
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mobilekit {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
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


def main() -> None:
    """Run the command line; every error ends with its exit code and without a traceback, unless --debug."""
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(TERMINATED))  # so that scratch folders go
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # what Typer makes of Ctrl-C, without a word
            raise KeyboardInterrupt
    except BaseException as error:
        sys.exit(_end(error))
    sys.exit(code if isinstance(code, int) else 0)


def _end(error: BaseException) -> int:
    """Tell the user of an error and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if os.environ.get("MOBILEKIT_DEBUG") and not isinstance(error, KeyboardInterrupt | typer.Exit):
        err.print_exception()
        for note in getattr(error, "__notes__", []):
            err.print(note, markup=False)
    if isinstance(error, MobilekitError):
        fail(error.what, error.hint)
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        fail("interrupted; nothing was left behind.")
        return INTERRUPTED
    if hasattr(error, "format_message"):  # click's own usage errors
        message = error.format_message()
        if message:  # without a command, the help was printed and is all there is to say
            fail(message, "Add --help to see what the command takes.")
        return 2
    if isinstance(error, OSError) and error.errno in _FULL:
        fail(f"The disk is full: {error}.", "Make room, or choose another place with -o. Nothing was left behind.")
        return 4
    if isinstance(error, OSError):
        fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.")
        return 4
    fail(
        f"{type(error).__name__}: {error}",
        "This is a fault of mobilekit: report it with what `mobilekit --debug ...` shows.",
    )
    return 4
