"""What `mobilekit tune` was asked, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilekit.bench.engine import RunSettings
from mobilekit.bench.instructions.result import CountResult
from mobilekit.bench.result import BenchResult
from mobilekit.jobs.source import Source
from mobilekit.jobs.tune.search import Outcome, Trial
from mobilekit.parity.ledger.result import Ledger
from mobilekit.store.jsonable import to_json
from mobilekit.store.stages import Precision


@dataclass(frozen=True)
class TuneRequest:
    """What to tune, and how."""

    source: Source
    """The model, and the recipe to start from."""
    output: Path
    """The recipe to write."""
    precision: Precision = "float32"
    """The file that is timed."""
    rounds: int | None = None
    seed: int = 0
    settings: RunSettings = field(default_factory=RunSettings)
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
    benches: tuple[BenchResult, ...]
    """Of the forms alone, and of what won; empty where there was nothing to measure."""
    ledger: Ledger
    """Of the tuned recipe, in all its precisions."""
    counts: tuple[CountResult, ...] = ()
    """Instead of benches, where instructions were counted."""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the forms in which the recipe differs from the base."""
        return tuple(trial.form.name for trial in self.outcome.chosen)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON data."""
        outcome = self.outcome
        first = self.benches[0] if self.benches else None
        counted = {"core": to_json(self.counts[0].core), "counts": to_json(self.counts)} if self.counts else {}
        return {
            "model": self.request.source.model,
            "precision": self.request.precision,
            "device": to_json(first.device) if first else None,
            "engine": to_json(first.engine) if first else None,
            "settings": to_json(first.settings) if first else None,
            "base": {"recipe": self.request.source.recipe.name, **to_json(outcome.base)},
            "forms": [_form_to_json(trial) for trial in outcome.trials],
            "refused": self.refused,
            "final": to_json(outcome.final),
            "chosen": list(self.chosen),
            "why": outcome.why,
            "recipe": str(self.request.output),
            "ledger": self.ledger.to_json(),
            "verdict": self.ledger.verdict,
            "benches": to_json(self.benches),
            **counted,
        }


def _form_to_json(trial: Trial) -> dict[str, Any]:
    return {
        "group": trial.group,
        "form": trial.form.name,
        "steps": [step.model_dump(mode="json", exclude_defaults=True) for step in trial.form.steps],
        "chosen": trial.chosen,
        **to_json(trial.figure),
    }
