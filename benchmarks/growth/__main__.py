"""How latency, memory and the cost of an export grow with input size and width, beside onnx2tf by hand.

    .venv/bin/python -m benchmarks.growth [--families ghostnetv2 ...] [--rounds 6]

Float32. Conversions are kept in mobilekit's cache folder, and made again when a recipe, a rewrite or a tool changed;
the first time they take about half an hour. Nothing else should run on the machine meanwhile. Writes docs/growth.md,
docs/growth.svg and docs/export_growth.svg.
"""

from __future__ import annotations

import argparse
import itertools
import json

from benchmarks.growth import points, report
from benchmarks.growth.points import FAMILIES, TOOLS, Point
from benchmarks.peers import environments
from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.bench import BenchRequest, bench
from mobilekit.bench.devices.local import LocalDevice
from mobilekit.bench.engine import RunSettings
from mobilekit.store.files import write_json

TIMED = points.WORK / "timed"


def main() -> None:
    """Convert, time and write; families that are not named keep their last timings."""
    parser = argparse.ArgumentParser(
        "benchmarks.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="*", choices=tuple(FAMILIES), default=tuple(FAMILIES))
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    environments.variables_into_own_process()
    for point in points.points_of(tuple(options.families)):
        points.convert(point)
    for family in options.families:
        print(f"timing {family}: {options.rounds} rounds", flush=True)
        time(family, options.rounds)
    timed = read()
    found = [point for point in points.points_of(tuple(FAMILIES)) if all((point, tool) in timed for tool in TOOLS)]
    report.write(found, timed, options.rounds)


def time(family: str, rounds: int) -> None:
    """Time all files of a family, in turns."""
    artifacts = [
        Artifact(point.file(tool), name_of(point, tool), f"{point.model} {point.size}", "float32", "", None)
        for point in points.points_of((family,))
        for tool in TOOLS
    ]
    request = BenchRequest(tuple(artifacts), RunSettings(runs=10, max_seconds=2), rounds)
    TIMED.mkdir(parents=True, exist_ok=True)
    write_json(TIMED / f"{family}.json", bench(LocalDevice(), request).to_json())


def name_of(point: Point, tool: str) -> str:
    """Return the name of a file in a bench."""
    return f"{point.model} {point.size} {tool}"


def read() -> report.Timed:
    """Return the last timings of files that have not been converted again since."""
    results = {
        result["file"]: result for path in TIMED.glob("*.json") for result in json.loads(path.read_text())["results"]
    }
    current = [point for point in points.points_of(tuple(FAMILIES)) if point.is_current]
    return {
        (point, tool): results[name_of(point, tool)]
        for point, tool in itertools.product(current, TOOLS)
        if name_of(point, tool) in results
    }


if __name__ == "__main__":
    main()
