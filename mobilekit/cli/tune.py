"""`mobilekit tune`: the forms of a model that are fastest on a device, as a recipe."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import complete, options
from mobilekit.cli.count import check_core
from mobilekit.cli.option_values import split_size
from mobilekit.cli.output import err, out, print_json, working
from mobilekit.cli.sources import source_of
from mobilekit.errors import UsageError
from mobilekit.store.cache import Cache, NoCache
from mobilekit.store.stages import tflite_stage


class PrecisionWord(StrEnum):
    """A file of an export."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"


def tune(
    model: options.ModelOrBundle,
    device: Annotated[
        str, typer.Option(help="`local`, `adb`, `adb:SERIAL` or `emulated`.", autocompletion=complete.tune_devices)
    ] = "local",
    core: options.Core = None,
    recipe: options.Recipe = None,
    weights: options.Weights = None,
    calibration: options.Calibration = None,
    inputs: options.Inputs = None,
    reference: options.Reference = None,
    input_size: options.InputSize = None,
    precision: Annotated[PrecisionWord, typer.Option(help="The file that is timed.")] = PrecisionWord.FLOAT32,
    max_drift: Annotated[
        float | None,
        typer.Option(
            min=0, help="Try approximate rewrites too, each held to this relative L2; without, only exact ones."
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=6, max=1000, help="Rounds of each of the two benches; 12.")] = None,
    runs: options.Runs = 20,
    threads: options.Threads = 1,
    seed: options.Seed = 0,
    benchmark_binary: options.BenchmarkBinary = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Recipe to write; MODEL.tuned.yaml without.")
    ] = None,
    force: options.Force = False,
    no_cache: options.NoCache = False,
    adb_server: options.AdbServer = None,
    as_json: options.Json = False,
) -> None:
    """Measure the forms in which a model can be written, and write a recipe with those that are fastest.

    Each form alone takes part in one bench; the best of each group, put together, are measured again. A form is taken
    only where it is faster beyond doubt in both. Only rewrites that keep the function are tried, unless --max-drift
    says how much others may change it. With --device emulated --core CORE the instructions of each form are counted
    instead, without a phone. Exit code 1 if the tuned recipe's ledger does not pass.

    Examples: `mobilekit tune shufflenet` · `mobilekit tune ghostnetv2 --device adb -o pixel.yaml` ·
    `mobilekit tune timm:mobilevit_s --precision int8 --rounds 20` · `mobilekit tune shufflenet --device emulated
    --core a55` · then `mobilekit export shufflenet --recipe shufflenet.tuned.yaml`
    """
    if device == "adb:all" or device.startswith("replay:"):
        raise UsageError(f"--device {device} cannot be tuned on.", "Name one device: local, adb, or adb:SERIAL.")
    given = {
        "--rounds": rounds is not None,
        "--runs": runs != 20,
        "--threads": threads != 1,
        "--seed": seed != 0,
        "--benchmark-binary": benchmark_binary is not None,
    }
    is_counted = check_core(core, device, given)
    from mobilekit.bench.devices.select import find_devices
    from mobilekit.bench.engine import RunSettings
    from mobilekit.bench.instructions.cores import core_named
    from mobilekit.cli.render.tune import tune_report
    from mobilekit.jobs.adjust import adjust
    from mobilekit.jobs.tune.job import tune as run
    from mobilekit.jobs.tune.result import TuneRequest
    from mobilekit.models.names import folder_name

    source, note = source_of(model, recipe, weights, calibration, inputs, reference)
    request = TuneRequest(
        replace(source, recipe=adjust(source.recipe, split_size(input_size))),
        output or Path(f"{folder_name(source.model)}.tuned.yaml"),
        tflite_stage(precision).precision,
        rounds,
        seed,
        RunSettings(threads=threads, runs=runs),
        max_drift,
        benchmark_binary,
        force,
    )
    with working(f"looking for {device}") as tell:
        [found] = [core_named(core)] if is_counted and core else find_devices(device, adb_server).devices
        tuned = run(request, found, NoCache() if no_cache else Cache.default(), tell)
    if as_json:
        print_json({**tuned.to_json(), "notes": [note] if note else []})
        return
    if note:
        out.print(note)
    out.print(tune_report(tuned))
    err.print(f"{request.output} is written.")
