"""What `mobilekit diff` does with an artifact that was made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.cli.diff_request import DiffRequest, refuse
from mobilekit.cli.output import err, working

if TYPE_CHECKING:
    from mobilekit.cli.results import DiffResult
    from mobilekit.jobs.compare import Pair


def measure_candidate(request: DiffRequest) -> DiffResult:
    """Return a candidate's ledger, with `bisect` where a folder for a reproduction is given."""
    from mobilekit.cli.results import faults_of, result_of
    from mobilekit.jobs.bisect import bisect_to

    with working("opening the artifacts") as tell:
        pair = open_candidate(request)
        for note in pair.notes:
            err.print(f"note: {note}.")
        tell("measuring the candidate")
        ledger = pair.measure()
        fault = bisect_to(request.bisect, pair, tell) if request.bisect and ledger.verdict == "fail" else None
    bisected = fault.report() if fault else None
    is_bisected = request.bisect is not None
    files = [path for path in (Path(request.reference or ""), request.candidate) if path and path.is_file()]
    faults = faults_of(files, is_bisected)
    return result_of(ledger, bisect=bisected, is_bisected=is_bisected, runtime_faults=faults)


def open_candidate(request: DiffRequest) -> Pair:
    """Open the artifact beside its reference, with the recipe's inputs in the artifact's size."""
    from mobilekit.artifacts.analysis.probe import check_survives
    from mobilekit.jobs.adjust import adjust
    from mobilekit.jobs.compare import input_size_of, open_pair
    from mobilekit.jobs.source import Source, choose_recipe

    reference, candidate = request.reference, request.candidate
    assert reference is not None and candidate is not None
    check_survives(candidate)
    if reference.endswith(".onnx"):
        refuse(
            "is for a PyTorch model, and the reference is an ONNX file, which has its own",
            recipe=request.recipe,
            weights=request.weights,
            calibration=request.calibration,
        )
        return open_pair(Path(reference), candidate, request.inputs)
    loaded = choose_recipe(reference, request.recipe, request.weights)
    size = None if request.recipe else input_size_of(candidate)
    loaded = adjust(loaded, size) if size and size != loaded.recipe.input.size else loaded
    source = Source(reference, loaded, request.weights, request.calibration)
    return open_pair(source, candidate, request.inputs)
