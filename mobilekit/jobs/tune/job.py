"""The job: find the forms, measure them, and write the recipe that won."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from mobilekit.bench.devices.base import Device
from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.export import ExportRequest, export
from mobilekit.jobs.tune.forms import groups_for
from mobilekit.jobs.tune.lab import Lab, check_ledger
from mobilekit.jobs.tune.recipe_text import recipe_text
from mobilekit.jobs.tune.result import Tuned, TuneRequest
from mobilekit.jobs.tune.search import Progress, search
from mobilekit.parity.ledger.result import ledger_of
from mobilekit.store.bundle import refuse_inside_bundle
from mobilekit.store.cache import Cache
from mobilekit.store.files import write_atomic


def tune(request: TuneRequest, device: Device, cache: Cache, progress: Progress = lambda _message: None) -> Tuned:
    """Measure the forms of a model on a device, and write the recipe with those that are faster beyond doubt.

    The recipe that was chosen is exported in all its precisions, and every stage must be within its limits, before it
    is written.

    Raises:
        UsageError: The request cannot be carried out.
        GateError: The tuned recipe's ledger does not pass.
        DeviceError: The device was lost.
        ToolError: A converter or runtime failed on the base recipe.
    """
    _check(request, device)
    with tempfile.TemporaryDirectory(prefix="mobilekit-tune-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lab = Lab(
            request.source,
            request.precision,
            device,
            request.rounds,
            request.seed,
            request.settings,
            folder,
            cache,
            request.benchmark_binary,
            progress,
        )
        candidates, refused = lab.candidates(groups_for(request.max_drift))
        outcome = search(request.source.recipe, candidates, lab.measure)
        progress("exporting the tuned recipe")
        final = ExportRequest(replace(request.source, recipe=outcome.recipe), folder / "tuned")
        ledger = ledger_of(export(final, cache, progress).bundle)
    try:
        check_ledger(ledger)
    except GateError as error:
        hint = "No recipe was written. `mobilekit export` with the base recipe tells whether that one passes."
        raise GateError(f"The tuned recipe's ledger does not pass. {error.what}", hint) from error
    tuned = Tuned(request, outcome, refused, tuple(lab.benches), ledger)
    write_atomic(request.output, recipe_text(tuned))
    return tuned


def _check(request: TuneRequest, device: Device) -> None:
    """Refuse before the work what would fail after it.

    Raises:
        UsageError: The recipe cannot be written, or the figures would mean nothing.
    """
    if device.facts.emulated:
        raise UsageError(
            f"{device.facts.name} is emulated, and its latencies mean nothing.", "Tune on a phone, or on this machine."
        )
    output = request.output
    refuse_inside_bundle(output)
    if not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent} for {output.name}.", "Make it first.")
    if output.is_dir():
        raise UsageError(f"{output} is a folder.", "Give the path of a file: -o tuned.yaml.")
    if output.exists() and not request.force:
        raise UsageError(f"{output} exists; it is kept.", "Replace it with --force, or choose another place with -o.")
