"""What `mobilekit diff` does with a bundle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mobilekit.cli.diff_request import DiffRequest
from mobilekit.cli.layers import look_inside
from mobilekit.cli.output import err, working
from mobilekit.store.bundle import Bundle, find_changes, open_bundle

if TYPE_CHECKING:
    from mobilekit.artifacts.on_device import OnDevice
    from mobilekit.cli.results import DiffResult
    from mobilekit.jobs.bisect import Bisection
    from mobilekit.parity.layers.result import Layers
    from mobilekit.parity.ledger.result import Ledger


def measure_bundle(request: DiffRequest) -> DiffResult:
    """Return a bundle's ledger, with `layers` and `bisect` where these are asked for."""
    from mobilekit.bench.devices.select import open_device
    from mobilekit.cli.results import faults_of, result_of
    from mobilekit.jobs.diff import diff

    bundle = open_bundle(request.measured)
    for change in find_changes(bundle.path):
        err.print(f"warning: {change}; the bundle is measured as it is.")
    with working("opening the bundle") as tell, open_device(request.device, request.benchmark_binary) as opener:
        layers = _look_inside(request, bundle, tell, opener) if request.layers else None
        ledger = diff(bundle, request.inputs, tell, request.reference, opener, request.apps)
        fault = _bisect(request, bundle, ledger, tell) if request.bisect else None
    bisected = fault.report() if fault else None
    files = sorted(each for each in bundle.path.iterdir() if each.suffix in (".onnx", ".tflite"))
    is_bisected = request.bisect is not None
    return result_of(
        ledger,
        layers=layers,
        bisect=bisected,
        is_bisected=is_bisected,
        runtime_faults=faults_of(files, request.layers or is_bisected),
    )


def _look_inside(request: DiffRequest, bundle: Bundle, tell: Callable[[str], None], device: OnDevice | None) -> Layers:
    given = (request.inputs, request.reference, request.calibration, request.precision)
    return look_inside(bundle, *given, tell, device)


def _bisect(request: DiffRequest, bundle: Bundle, ledger: Ledger, tell: Callable[[str], None]) -> Bisection | None:
    """Bisect the first stage of a bundle that failed; None where none did."""
    from mobilekit.jobs.bisect import bisect_to
    from mobilekit.jobs.compare import pair_of_bundle

    assert request.bisect is not None
    tell("opening the stage that failed")
    pair = pair_of_bundle(bundle, ledger, request.inputs, request.reference)
    return bisect_to(request.bisect, pair, tell) if pair else None
