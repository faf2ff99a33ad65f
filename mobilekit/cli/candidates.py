"""What `mobilekit diff` does with an artifact that was made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mobilekit.cli.diff_request import DiffRequest
from mobilekit.cli.output import err, progress
from mobilekit.errors import UsageError

if TYPE_CHECKING:
    from mobilekit.jobs.compare import Pair


def measure_candidate(request: DiffRequest) -> dict[str, Any]:
    """Return a candidate's ledger as JSON data, with `bisect` where a folder for a reproduction is given."""
    from mobilekit.jobs.bisect import bisect_to

    with progress("opening the artifacts") as tell:
        pair = open_candidate(request)
        for note in pair.notes:
            err.print(f"note: {note}.")
        tell("measuring the candidate")
        ledger = pair.measure()
        content = ledger.to_json()
        if request.bisect:
            fault = bisect_to(request.bisect, pair, tell) if ledger.verdict != "pass" else None
            content["bisect"] = fault.to_json() if fault else None
    return content


def open_candidate(request: DiffRequest) -> Pair:
    """Open the artifact beside its reference, with the recipe's inputs in the artifact's size."""
    from mobilekit.artifacts.probe import check_survives
    from mobilekit.jobs.compare import input_size_of, open_pair
    from mobilekit.jobs.export import adjust, recipe_of
    from mobilekit.recipes.load import load_recipe

    reference, candidate = request.reference, request.candidate
    assert reference is not None and candidate is not None
    if not candidate.is_file():
        raise UsageError(f"There is no file {candidate}.")
    check_survives(candidate)
    if reference.endswith(".onnx"):
        if request.recipe:
            raise UsageError("--recipe is for a PyTorch model, and the reference is an ONNX file.")
        return open_pair(reference, candidate, None, request.weights, request.inputs)
    if request.recipe:
        loaded = load_recipe(request.recipe)
    else:
        loaded, size = recipe_of(reference), input_size_of(candidate)
        loaded = adjust(loaded, size) if size and size != loaded.recipe.input.size else loaded
    return open_pair(reference, candidate, loaded, request.weights, request.inputs)
