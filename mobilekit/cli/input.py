"""`mobilekit input`: what the model sees of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import complete, options
from mobilekit.cli.output import check_place, out, print_json
from mobilekit.store.bundle import open_bundle


def input(  # noqa: A001 - the command's name
    bundle: options.BundleFolder,
    picture: Annotated[Path, typer.Argument(help="A picture's file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write what the model sees, .png.")] = None,
    app: Annotated[
        str | None,
        typer.Option(help="Make the input as one app does, as `diff --app` names it.", autocompletion=complete.apps),
    ] = None,
    tensor: Annotated[
        Path | None,
        typer.Option(help="What an app gave the model, .npy or bytes: tell how it was made of the picture."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show what a bundle's model sees of a picture, as its recipe says, and the figures of the tensor.

    With --tensor, say by which scaling and which mistake an app has come to the values that it gave the model.

    Examples: `mobilekit input artifacts/ghostnetv2 cat.jpg -o seen.png` ·
    `mobilekit input artifacts/ghostnetv2 cat.jpg --app mediapipe -o seen.png` ·
    `mobilekit input artifacts/ghostnetv2 cat.jpg --tensor dumped.npy`
    """
    if output:
        check_place(output, (".png",), "What the model sees is written as a PNG.")
    opened = open_bundle(bundle)
    from mobilekit.cli.render.input import input_lines
    from mobilekit.jobs.see_input import png_of, see_input
    from mobilekit.recipes.inputs.apps import find_app
    from mobilekit.store.files import write_atomic

    seen, shown = see_input(opened, picture, find_app(app) if app is not None else None, tensor)
    if output:
        write_atomic(output, png_of(shown))
    if as_json:
        print_json(seen.to_json())
        return
    for line in input_lines(seen, output):
        out.print(line)
