"""The job: find the forms, measure them, and write the recipe that won."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilekit.bench.devices.base import Device
from mobilekit.bench.engine import RunSettings
from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.export import ExportRequest, export
from mobilekit.jobs.tune.forms import groups_for
from mobilekit.jobs.tune.lab import Lab, check_ledger
from mobilekit.jobs.tune.recipe_text import recipe_text
from mobilekit.jobs.tune.search import Outcome, Progress, search
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.store.cache import Cache
from mobilekit.store.files import write_atomic
from mobilekit.store.stages import Precision


@dataclass(frozen=True)
class TuneRequest:
    """What to tune, and how."""

    model: str
    base: LoadedRecipe
    output: Path
    """The recipe to write."""
    precision: Precision = "float32"
    """The file that is timed."""
    rounds: int | None = None
    seed: int = 0
    settings: RunSettings = field(default_factory=RunSettings)
    weights: Path | None = None
    calibration: Path | None = None
    max_drift: float | None = None
    """Approximate rewrites are tried too, each held to this drift; None: only those that keep the function."""
    benchmark_binary: str | None = None
    force: bool = False
    """Replace a file that exists."""


@dataclass(frozen=True)
class Tuned:
    """What came of it."""

    request: TuneRequest
    outcome: Outcome
    refused: dict[str, str]
    """Forms that cannot be made of this model, and why."""
    benches: list[dict[str, Any]]
    ledger: dict[str, Any]
    """Of the tuned recipe, in all its precisions."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON data."""
        outcome = self.outcome
        first = self.benches[0] if self.benches else None
        return {
            "model": self.request.model,
            "precision": self.request.precision,
            "device": first["device"] if first else None,
            "engine": first["engine"] if first else None,
            "settings": first["settings"] if first else None,
            "base": {"recipe": self.request.base.name, **outcome.base.to_json()},
            "forms": [
                {
                    "group": trial.group,
                    "form": trial.form.name,
                    "steps": [step.model_dump(mode="json", exclude_defaults=True) for step in trial.form.steps],
                    "chosen": trial.chosen,
                    **trial.figure.to_json(),
                }
                for trial in outcome.trials
            ],
            "refused": self.refused,
            "final": {name: figure.to_json() for name, figure in outcome.final.items()},
            "chosen": [trial.form.name for trial in outcome.chosen],
            "why": outcome.why,
            "recipe": str(self.request.output),
            "ledger": self.ledger,
            "verdict": self.ledger["verdict"],
            "benches": self.benches,
        }


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
            request.model,
            request.precision,
            device,
            request.rounds,
            request.seed,
            request.settings,
            folder,
            cache,
            request.weights,
            request.calibration,
            request.benchmark_binary,
            progress,
        )
        candidates, refused = lab.candidates(request.base, groups_for(request.max_drift))
        outcome = search(request.base, candidates, lab.measure)
        progress("exporting the tuned recipe")
        target = folder / "tuned"
        final = ExportRequest(request.model, outcome.recipe, target, request.weights, request.calibration)
        ledger = export(final, cache, progress).bundle.ledger
    try:
        check_ledger(ledger)
    except GateError as error:
        hint = "No recipe was written. `mobilekit export` with the base recipe tells whether that one passes."
        raise GateError(f"The tuned recipe's ledger does not pass. {error.what}", hint) from error
    tuned = Tuned(request, outcome, refused, lab.benches, ledger)
    write_atomic(request.output, recipe_text(tuned.to_json(), outcome.recipe))
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
    if not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent} for {output.name}.", "Make it first.")
    if output.is_dir():
        raise UsageError(f"{output} is a folder.", "Give the path of a file: -o tuned.yaml.")
    if output.exists() and not request.force:
        raise UsageError(f"{output} exists; it is kept.", "Replace it with --force, or choose another place with -o.")
