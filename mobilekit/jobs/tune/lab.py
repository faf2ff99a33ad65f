"""Exports recipes and compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mobilekit.bench.artifacts import Artifact
from mobilekit.errors import GateError, MobilekitError, ToolError
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.build import build
from mobilekit.jobs.export import export
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.source import Source
from mobilekit.jobs.tune.forms import Group
from mobilekit.jobs.tune.meters import Meter
from mobilekit.jobs.tune.search import BASE, Candidate, Figure, Progress
from mobilekit.models.weights import settings_of, weights_digest
from mobilekit.parity.ledger.result import Ledger, ledger_of
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.store.cache import Cache
from mobilekit.store.files import sha256_of, sha256_of_json
from mobilekit.store.stages import Precision, tflite_stage

_MEND_BASE = (
    "Forms are compared with it, so it has to pass. `mobilekit export` with the base recipe says what to do about it; "
    "or tune another --precision, or a --recipe that passes."
)


@dataclass
class Lab:
    """One model, on one device or counted core, in one precision."""

    source: Source
    """The model, and the recipe that is the base."""
    precision: Precision
    meter: Meter
    """What compares files."""
    folder: Path
    """Scratch, for bundles."""
    cache: Cache
    progress: Progress = lambda _message: None

    def candidates(self, groups: list[Group]) -> tuple[list[Candidate], dict[str, str]]:
        """Return the forms that make another graph than the base and one another, and those that are refused.

        Raises:
            UsageError: The base cannot be used.
        """
        base, built = self.source.recipe, build(self.source)

        def digest_of(loaded: LoadedRecipe) -> str:
            made = built.rewritten(loaded, prove=False).graph
            return sha256_of_json({"code": made.code, "modules": settings_of(made), "weights": weights_digest(made)})

        seen = {digest_of(base)}
        found, refused = [], {}
        for group in groups:
            for form in group.forms:
                candidate = Candidate(group, form)
                if form == group.form_of(base):
                    continue
                self.progress(f"looking at {candidate.name}")
                try:
                    digest = digest_of(group.applied_to(base, form))
                except MobilekitError as error:
                    refused[candidate.name] = error.what
                    continue
                if digest not in seen:
                    seen.add(digest)
                    found.append(candidate)
        return found, refused

    def measure(self, base: LoadedRecipe, others: Mapping[str, LoadedRecipe]) -> dict[str, Figure]:
        """Export the recipes, and compare them in one go; see `search.Measure`.

        Raises:
            MobilekitError: The base cannot be exported or measured.
        """
        files = {BASE: self._export(BASE, base)}
        figures: dict[str, Figure] = {}
        for name, loaded in others.items():
            try:
                files[name] = self._export(name, loaded)
            except (GateError, ToolError) as error:
                figures[name] = Figure(why_not=error.what)
        return figures | self._compare(files)

    def _export(self, name: str, loaded: LoadedRecipe) -> Path:
        """Return the file that a recipe gives.

        Raises:
            GateError: A stage of it is outside its limit.
        """
        self.progress(f"exporting {name}")
        output = self.folder / sha256_of_json(loaded.recipe.model_dump(mode="json"))[:16]
        source = replace(self.source, recipe=adjust(loaded, precision=[self.precision]))
        exported = export(
            ExportRequest(source, output, strict=True), self.cache, lambda message: self.progress(f"{name}: {message}")
        )
        try:
            check_ledger(ledger_of(exported.bundle))
        except GateError as error:
            if name != BASE:
                raise
            raise GateError(f"The base recipe's export does not pass. {error.what}", _MEND_BASE) from error
        return output / tflite_stage(self.precision).file

    def _compare(self, files: dict[str, Path]) -> dict[str, Figure]:
        """Return a figure for each file; only the base has no ratio."""
        artifacts = tuple(
            Artifact(path, name, "tune", self.precision, sha256_of(path), None) for name, path in files.items()
        )
        return self.meter.compare(artifacts, self.progress)


def check_ledger(ledger: Ledger) -> None:
    """Refuse a bundle with a stage or a file outside its limit.

    Raises:
        GateError: Naming them.
    """
    if ledger.verdict != "fail":
        return
    stages = [str(row.stage) for row in ledger.rows if row.verdict == "fail"]
    files = [gate.artifact for gate in ledger.gates if gate.verdict != "pass"]
    raise GateError(f"Its {', '.join(dict.fromkeys([*stages, *files]))} is outside its limit{_by_how_much(ledger)}.")


def _by_how_much(ledger: Ledger) -> str:
    """Return the figure and limit of the first bound or gate that was missed, behind a colon."""
    rows = [row for row in ledger.rows if row.verdict == "fail"]
    for limit in (limit for row in rows for limit in (*row.limits, *row.random_limits)):
        if not limit.holds:
            return f": {limit.metric} is {limit.value:.3g}, and the limit {limit.limit:.3g}"
    if rows:  # an invariant, or what is no number
        return ""
    gates = [gate for gate in ledger.gates if gate.verdict != "pass"]
    return f": {gates[0].gate} is {gates[0].value:.3g}, and the limit {gates[0].limit:.3g}" if gates else ""
