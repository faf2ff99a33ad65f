"""`mobilekit goldens`: cases for the tests of an app, and their replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilekit.cli import options
from mobilekit.cli.option_values import split_words
from mobilekit.cli.output import err, out, print_json, print_whole, progress, working

app = typer.Typer(help="Golden cases for the tests of an app: tensors in, tensors out.", no_args_is_help=True)


@app.command("make")
def make(
    bundle: options.BundleFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of cases.")] = 4,
    inputs: options.Inputs = None,
    reference: options.Reference = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Write pictures, tensors, what each file gives for them, and how far off may be right: for the tests of an app.

    The model's code is run for the tolerances of GPUs alone; one of FILE.py:FACTORY has to be named by --reference.

    Examples: `mobilekit goldens make artifacts/ghostnetv2 -o goldens` ·
    `mobilekit goldens make artifacts/mine -o goldens --count 2 --inputs photos --reference nets/mine.py:small`
    """
    from mobilekit.cli.render.format import count as plural
    from mobilekit.jobs.goldens.make import make_goldens
    from mobilekit.store.bundle import open_bundle

    opened = open_bundle(bundle)
    with working("reading the bundle") as tell:
        made = make_goldens(opened, output, count, inputs, reference, force, tell)
    if as_json:
        print_json(made.to_json())
        return
    names = ", ".join(file.file for file in made.files)
    out.print(f"{output} holds {plural(len(made.cases), 'case')} of {made.model} for {names}.")
    for note in made.notes:
        err.print(f"note: {note}")
    is_onnx = not any(file.file.endswith(".tflite") for file in made.files)
    out.print(f"Next: mobilekit goldens check {output}{' --runtime onnxruntime' if is_onnx else ''}")


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder that `mobilekit goldens make` made.")],
    runtime: Annotated[
        str,
        typer.Option(
            metavar="NAME|CMD",
            help="litert, onnxruntime, mediapipe, or a program, called as `CMD INPUT.npy OUTPUT.npy`.",
        ),
    ] = "litert",
    files: Annotated[
        Path | None, typer.Option("--bundle", help="Folder with the files, where it is not the one the goldens are of.")
    ] = None,
    precision: options.GoldenForms = None,
    place: Annotated[
        Literal["cpu", "gpu"], typer.Option("--on", help="Whose tolerances hold; a GPU computes in float16.")
    ] = "cpu",
    as_json: options.Json = False,
) -> None:
    """Replay golden cases. Exit code 1 if an output is off by more than its tolerance.

    A program reads the file's input and writes its output, in the file's number format or as floats;
    MOBILEKIT_GOLDEN_FILE names the file to it.

    Examples: `mobilekit goldens check goldens` · `mobilekit goldens check goldens --runtime mediapipe` ·
    `mobilekit goldens check goldens --runtime "./run_on_phone.sh --fast" --precision int8 --on gpu`
    """
    from mobilekit.cli.render.goldens import replay_table, skipped_lines
    from mobilekit.jobs.goldens.check import check_goldens

    with progress("reading the goldens") as tell:
        found = check_goldens(folder, runtime, files, split_words(precision), place, tell)
    if as_json:
        print_json(found.to_json())
    else:
        print_whole(replay_table(found))
        for line in skipped_lines(found):
            out.print(line)
    if found.verdict != "pass":
        raise typer.Exit(1)
