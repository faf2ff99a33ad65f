"""`mobilekit recover`: weights that an inexact rewrite or int8 costs less."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.output import check_place, err, out, print_json, working
from mobilekit.errors import InterruptedWork


class TrainingDevice(StrEnum):
    """Where torch trains."""

    CPU = "cpu"
    CUDA = "cuda"


def recover(
    model: options.Model,
    pictures: options.Pictures,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    int8: Annotated[bool, typer.Option("--int8", help="Round as an int8 file does while training.")] = False,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Of Adam.")] = 300,
    batch_size: Annotated[int, typer.Option(min=1, max=1024, help="Pictures a step.")] = 32,
    learning_rate: Annotated[
        float, typer.Option(min=1e-9, max=1, help="Of the first step; it falls to 0 along half a cosine.")
    ] = 3e-4,
    seed: Annotated[int, typer.Option(help="Of the order of the pictures.")] = 0,
    device: Annotated[TrainingDevice, typer.Option(help="cpu, one thread, or cuda.")] = TrainingDevice.CPU,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Weights to write; MODEL.recovered.safetensors without.")
    ] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Train weights for what an export does to a model: rewrites that are another function, and int8.

    The model with its own weights is the teacher, so pictures need no labels. What is written fits the model, and
    `mobilekit export MODEL --recipe RECIPE --weights FILE` takes it. How far the outputs are from the teacher's, before
    and after, is measured on pictures that were kept back, and written beside as JSON. A run that is interrupted goes
    on where the last checkpoint was. Exit code 1 where the outputs come no nearer.

    Examples: `mobilekit recover ghostnetv2 --recipe mine.yaml --pictures photos` · `mobilekit recover mine.py:make
    --weights mine.pt --pictures photos --int8 --steps 1000`
    """
    from mobilekit.cli.render.recover import recover_report
    from mobilekit.jobs.recover.job import recover as run
    from mobilekit.jobs.recover.result import RecoverRequest, Training
    from mobilekit.jobs.source import Source, choose_recipe
    from mobilekit.models.names import folder_name

    place = output or Path(f"{folder_name(model)}.recovered.safetensors")
    check_place(place, [".safetensors"], "Weights are written as safetensors.")
    source = Source(model, choose_recipe(model, recipe, weights), weights, calibration)
    training = Training(steps, batch_size, learning_rate, seed, device.value)
    request = RecoverRequest(source, pictures, place, int8, training, force)
    try:
        with working(f"reading {model}") as tell:
            found = run(request, tell)
    except KeyboardInterrupt:
        if request.checkpoint.exists():
            raise InterruptedWork("interrupted.", f"The same command goes on from {request.checkpoint}.") from None
        raise
    if as_json:
        print_json(found.to_json())
    else:
        out.print(recover_report(found))
        err.print(f"{place} is written.")
    if not found.is_nearer:
        err.print("error: the outputs are no nearer. Train for more --steps, or with another --learning-rate.")
        raise typer.Exit(1)
