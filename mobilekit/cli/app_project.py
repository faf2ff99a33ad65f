"""`mobilekit app`: a small project around a bundle, which runs it as an app does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilekit.cli import options
from mobilekit.cli.option_values import split_words
from mobilekit.cli.output import err, out, print_json, working


def app_project(
    platform: Annotated[
        Literal["web", "android", "python"], typer.Argument(help="What it runs on.", show_default=False)
    ],
    bundle: options.BundleFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    precision: options.GoldenPrecisions = None,
    labels: options.Labels = None,
    name: Annotated[str | None, typer.Option(help="What the app is called; as the model without.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of cases of the golden test.")] = 2,
    inputs: options.Inputs = None,
    reference: options.Reference = None,
    as_json: options.Json = False,
) -> None:
    """Write a small project around a bundle: preprocessing, labels, latency, and a test that replays golden cases.

    `web` is a page with LiteRT.js and ONNX Runtime Web; `android` Kotlin with LiteRT's CompiledModel, for Gradle;
    `python` a program with LiteRT for a Raspberry Pi or any Linux machine. The first precision that is named runs, and
    the others can be chosen.

    Examples: `mobilekit app web artifacts/ghostnetv2 -o app` ·
    `mobilekit app python artifacts/mine -o app --precision int8,float32 --labels labels.txt --inputs photos`
    """
    from mobilekit.cli.render.format import count as plural
    from mobilekit.jobs.app_project.platforms import PLATFORMS
    from mobilekit.jobs.app_project.write import AppRequest, write_project
    from mobilekit.store.bundle import open_bundle

    opened = open_bundle(bundle)
    chosen = split_words(precision)
    request = AppRequest(platform, output, chosen, labels, name, count, inputs, reference)
    with working("reading the bundle") as tell:
        made = write_project(opened, request, tell)
    if as_json:
        print_json(made.to_json())
        return
    out.print(
        f"{output} is written: {made.name} on {platform}, {', '.join(made.files)}, {plural(made.cases, 'golden case')}."
    )
    for file, reason in made.left_out.items():
        err.print(f"note: {file} is left out: {reason}.")
    for note in made.notes:
        err.print(f"note: {note}")
    out.print(f"Next: cd {output} && {PLATFORMS[platform].next_steps}")
