"""`mobilekit inspect`: what is in an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.output import out, print_json


def inspect(
    file: Annotated[Path, typer.Argument(help="An .onnx or .tflite file.")],
    as_json: options.Json = False,
) -> None:
    """Show an artifact's ops, inputs and outputs, and what the delegate leaves, with the reason.

    Example: `mobilekit inspect artifacts/ghostnetv2/model.int8.tflite`
    """
    from mobilekit.artifacts.inspect import inspect as look_into
    from mobilekit.cli.render.inspect import inspect_lines

    found = look_into(file)
    if as_json:
        print_json(found.to_json())
        return
    for line in inspect_lines(file, found):
        out.print(line, emoji=False)
