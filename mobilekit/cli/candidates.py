"""What `mobilekit diff` does with an artifact that was made elsewhere, and with --bisect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.cli.output import err, progress
from mobilekit.errors import UsageError
from mobilekit.store.bundle import Bundle

if TYPE_CHECKING:
    from mobilekit.jobs.bisect import Bisection
    from mobilekit.jobs.compare import Pair
    from mobilekit.parity.ledger.ledger import Ledger

Progress = Callable[[str], None]

_NEITHER = (
    "Name a bundle, or an artifact beside its model: mobilekit diff artifacts/ghostnetv2, or mobilekit diff "
    "--reference ghostnetv2 --candidate their.tflite"
)


def check_request(
    bundle: Path | None,
    reference: str | None,
    candidate: Path | None,
    for_candidates: dict[str, Any],
    for_bundles: dict[str, Any],
) -> None:
    """Check that the request names one thing to measure.

    Args:
        bundle: A bundle's folder.
        reference: Name of the model.
        candidate: A file that was made elsewhere.
        for_candidates: Options that go with a candidate alone, by name; None where they are not given.
        for_bundles: Those that go with a bundle alone.

    Raises:
        UsageError: It names none, or two, or options of the other kind.
    """
    if bundle is None and candidate is None:
        raise UsageError("There is nothing to measure.", _NEITHER)
    if bundle is not None and candidate is not None:
        raise UsageError(f"{bundle} and --candidate are both given; each is measured by itself.", _NEITHER)
    if candidate is not None and reference is None:
        raise UsageError("--candidate needs the model that it should be.", "Add --reference MODEL, or an .onnx file.")
    options, kind = (for_candidates, "--candidate; a bundle has its own") if bundle else (for_bundles, "a bundle")
    extra = [name for name, value in options.items() if value is not None]
    if extra:
        raise UsageError(f"{extra[0]} goes with {kind}.")


def measure_candidate(
    candidate: Path,
    reference: str,
    weights: Path | None,
    recipe: str | None,
    inputs: Path | None,
    bisect: Path | None,
) -> dict[str, Any]:
    """Return a candidate's ledger as JSON data, with `bisect` where a folder for a reproduction is given."""
    from mobilekit.jobs.bisect import bisect_to

    with progress("opening the artifacts") as tell:
        pair = open_candidate(reference, candidate, weights, recipe, inputs)
        for note in pair.notes:
            err.print(f"note: {note}.", markup=False)
        tell("measuring the candidate")
        ledger = pair.measure()
        content = ledger.to_json()
        if bisect:
            fault = bisect_to(bisect, pair, tell) if ledger.verdict != "pass" else None
            content["bisect"] = fault.to_json() if fault else None
    return content


def open_candidate(
    reference: str, candidate: Path, weights: Path | None, recipe: str | None, inputs: Path | None
) -> Pair:
    """Open an artifact beside its reference, with the recipe's inputs in the artifact's size."""
    from mobilekit.jobs.compare import input_size_of, open_pair
    from mobilekit.jobs.export import adjust, recipe_of
    from mobilekit.recipes.load import load_recipe

    if not candidate.is_file():
        raise UsageError(f"There is no file {candidate}.")
    if reference.endswith(".onnx"):
        if recipe:
            raise UsageError("--recipe is for a PyTorch model, and the reference is an ONNX file.")
        return open_pair(reference, candidate, None, weights, inputs)
    if recipe:
        loaded = load_recipe(recipe)
    else:
        loaded, size = recipe_of(reference), input_size_of(candidate)
        loaded = adjust(loaded, size) if size and size != loaded.recipe.input.size else loaded
    return open_pair(reference, candidate, loaded, weights, inputs)


def bisect_bundle(
    folder: Path, bundle: Bundle, ledger: Ledger, inputs: Path | None, reference: str | None, tell: Progress
) -> Bisection | None:
    """Bisect the first stage of a bundle that failed; None where none did."""
    from mobilekit.jobs.bisect import bisect_to
    from mobilekit.jobs.compare import pair_of_bundle

    tell("opening the stage that failed")
    pair = pair_of_bundle(bundle, ledger, inputs, reference)
    return bisect_to(folder, pair, tell) if pair else None
