"""The job: find the forms, measure them, and write the recipe that won."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from mobilekit.bench.devices.base import Device
from mobilekit.bench.devices.emulator_setup import find_count_problem
from mobilekit.bench.instructions.cores import CountedCore
from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.export import export
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.tune.forms import groups_for
from mobilekit.jobs.tune.lab import Lab, check_ledger
from mobilekit.jobs.tune.meters import BenchMeter, CountMeter
from mobilekit.jobs.tune.recipe_text import recipe_text
from mobilekit.jobs.tune.result import Tuned, TuneRequest
from mobilekit.jobs.tune.search import Progress, search
from mobilekit.parity.ledger.result import ledger_of
from mobilekit.store.bundle import refuse_inside_bundle
from mobilekit.store.cache import Cache
from mobilekit.store.files import write_atomic


def tune(
    request: TuneRequest, where: Device | CountedCore, cache: Cache, progress: Progress = lambda _message: None
) -> Tuned:
    """Measure the forms of a model, and write the recipe with those that are faster or cheaper beyond doubt.

    On a device forms are timed; on a counted core their instructions are counted.

    The recipe that was chosen is exported in all its precisions, and every stage must be within its limits, before it
    is written.

    Raises:
        UsageError: The request cannot be carried out.
        GateError: The tuned recipe's ledger does not pass.
        DeviceError: The device was lost.
        ToolError: A converter or runtime failed on the base recipe.
    """
    _check(request, where)
    meter: BenchMeter | CountMeter
    if isinstance(where, CountedCore):
        meter = CountMeter(where)
    else:
        meter = BenchMeter(where, request.rounds, request.seed, request.settings, request.benchmark_binary)
    with tempfile.TemporaryDirectory(prefix="mobilekit-tune-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lab = Lab(request.source, request.precision, meter, folder, cache, progress)
        candidates, refused = lab.candidates(groups_for(request.max_drift))
        outcome = search(request.source.recipe, candidates, lab.measure, meter.words)
        progress("exporting the tuned recipe")
        final = ExportRequest(replace(request.source, recipe=outcome.recipe), folder / "tuned")
        ledger = ledger_of(export(final, cache, progress).bundle)
    try:
        check_ledger(ledger)
    except GateError as error:
        hint = "No recipe was written. `mobilekit export` with the base recipe tells whether that one passes."
        raise GateError(f"The tuned recipe's ledger does not pass. {error.what}", hint) from error
    benches = tuple(meter.benches) if isinstance(meter, BenchMeter) else ()
    counts = tuple(meter.counts) if isinstance(meter, CountMeter) else ()
    tuned = Tuned(request, outcome, refused, benches, ledger, counts)
    write_atomic(request.output, recipe_text(tuned))
    return tuned


def _check(request: TuneRequest, where: Device | CountedCore) -> None:
    """Refuse before the work what would fail after it.

    Raises:
        UsageError: The recipe cannot be written, or the figures would mean nothing.
        ToolError: Nothing can be counted here.
    """
    if isinstance(where, CountedCore):
        if problem := find_count_problem():
            raise problem
    elif where.facts.emulated:
        raise UsageError(
            f"{where.facts.name} is emulated, and its latencies mean nothing.", "Tune on a phone, or on this machine."
        )
    output = request.output
    refuse_inside_bundle(output)
    if not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent} for {output.name}.", "Make it first.")
    if output.is_dir():
        raise UsageError(f"{output} is a folder.", "Give the path of a file: -o tuned.yaml.")
    if output.exists() and not request.force:
        raise UsageError(f"{output} exists; it is kept.", "Replace it with --force, or choose another place with -o.")
