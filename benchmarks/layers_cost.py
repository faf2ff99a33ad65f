"""What a look inside costs, and how near the simulations are to the artifacts, layer by layer.

    .venv/bin/python benchmarks/layers_cost.py BUNDLE... [--precision float32,int8]

Runs `mobilekit diff BUNDLE --layers` with an empty cache and then again, and prints a table for docs/layers.md: wall
time and the largest sum of resident sizes of its processes, whether the tapped copies give the same outputs, and the
ratio of each value's error to what its format does by itself.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

TOOLS = ("torch", "onnx", "onnx2tf", "tensorflow", "ai-edge-litert")


def look(bundle: Path, precision: str | None, cache: Path) -> tuple[float, float, dict[str, Any]]:
    """Run the command, and return its wall time in seconds, its peak memory in MB, and what it printed."""
    words = ["diff", str(bundle), "--layers", "--json", *(["--precision", precision] if precision else [])]
    command = [sys.executable, "-m", "mobilekit", *words]
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as output:
        environment = {**os.environ, "MOBILEKIT_CACHE": str(cache)}
        process = psutil.Popen(command, env=environment, stdout=output)
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(0.05)
        output.seek(0)
        return time.perf_counter() - start, peak / 1e6, json.loads(output.read())["layers"]


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--precision")
    given = parser.parse_args()
    costs, ratios = [], []
    for bundle in given.bundles:
        with tempfile.TemporaryDirectory() as cache:
            first = look(bundle, given.precision, Path(cache))
            second = look(bundle, given.precision, Path(cache))
        memory = max(first[1], second[1])
        costs.append(f"| {bundle.name} | {first[0]:.0f} | {second[0]:.0f} | {memory:.0f} |")
        for stage in first[2]["stages"]:
            found = [row["step"]["relative_l2"] / row["expected_relative_l2"] for row in stage["layers"] if row["step"]]
            if found:
                same = "yes" if stage["observer"]["identical"] else f"{stage['observer']['relative_l2']:.1e}"
                cells = (bundle.name, stage["stage"], same, f"{statistics.median(found):.2f}", f"{max(found):.2f}")
                ratios.append(f"| {' | '.join(cells)} | {stage['first_jump'] or 'none'} |")
    print("| bundle | first time, s | again, s | peak memory, MB |\n|---|---|---|---|", *costs, sep="\n")
    print(
        "\n| bundle | stage | same outputs | median ratio | largest | jump |\n|---|---|---|---|---|---|",
        *ratios,
        sep="\n",
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in TOOLS)
    print(f"\n{datetime.date.today()}: {os.cpu_count()} cores, {platform.machine()}, {versions}")


if __name__ == "__main__":
    main()
