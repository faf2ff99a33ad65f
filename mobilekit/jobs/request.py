"""What an export is asked for, and the digest that says whether it was done. Torch is imported for the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.convert.installed import tools_of
from mobilekit.errors import UsageError
from mobilekit.jobs.given import given_but_weights
from mobilekit.jobs.source import Source
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, file_spec
from mobilekit.recipes.inputs.user_data import digest_of_own, own_files
from mobilekit.rewrites.names import installed_names
from mobilekit.store.files import sha256_of, sha256_of_json
from mobilekit.store.versions import BUNDLE_ROOMS, source_digest

if TYPE_CHECKING:
    from mobilekit.jobs.build import Opened


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how."""

    source: Source
    output: Path
    force: bool = False
    """Replace a bundle that exists, and make everything anew: nothing comes out of the cache."""
    strict: bool = False
    """Leave nothing where a file cannot be made, opened or run."""
    jobs: int | None = None
    """Processors to use at once: 1 takes less memory; without, 2 where there are as many."""


def request_digest(request: ExportRequest, opened: Opened | None = None) -> str:
    """Return the digest of all that decides what the bundle holds.

    Args:
        request: The request.
        opened: Its model, where it is not a reference model.
    """
    source, recipe = request.source, request.source.recipe.recipe
    checkpoint = None if source.weights in (NO_WEIGHTS, PRETRAINED) else source.weights
    if checkpoint and not checkpoint.is_file():
        raise UsageError(f"There is no weights file {checkpoint}.")
    files = own_files(source.calibration) if source.calibration else []
    code = file_spec(source.model)
    return sha256_of_json(
        {
            "model": source.model,
            "recipe": recipe.model_dump(mode="json"),
            "recipe_name": source.recipe.name,
            "inputs": list(recipe.shapes),  # in their order, which the digest of the recipe leaves out
            "code": sha256_of(code[0]) if code else None,
            "weights": sha256_of(checkpoint) if checkpoint else str(source.weights),
            "opened": opened.identity if opened else None,
            "calibration": [sha256_of(path) for path in files[: recipe.calibration.count]],
            "inputs_measured_on": digest_of_own(source.inputs) if source.inputs else None,
            "origins": [[each.what, each.origin] for each in given_but_weights(source)],
            "installed_rewrites": _sources_of(step.name for step in recipe.rewrites),
            "tools": tools_of(recipe),
            "source": source_digest(BUNDLE_ROOMS),
        }
    )


def _sources_of(names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the files that define those of these rewrites that installed packages bring."""
    installed = sorted({*names} & {*installed_names()})
    if not installed:
        return {}
    from mobilekit.rewrites.plugins import source_of

    return {name: source_of(name) for name in installed}
