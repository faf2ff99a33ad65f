"""What a bench costs beside benchmark_model itself, on a device behind adb.

    .venv/bin/python benchmarks/bench_cost.py FILE.tflite [--device adb] [--rounds 10] [--repeats 5] [--write]

A command line bench of one file is timed with one round and with 1 + ROUNDS. Of its wall time, benchmark_model's is
from the moment its command is sent until its end is known; the rest is mobilekit's own, Python's start included. What
ROUNDS more rounds add to it is the cost of a round, what remains that of the start; all files are on the device then.
Beside it, the same command by hand with `adb shell`, and what it takes to bring a large file. `--write` puts the table
into docs/bench.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mobilekit
from mobilekit.bench.devices.select import find_devices

DOCS = Path(__file__).parents[1] / "docs" / "bench.md"
SENT_BYTES = 25_000_000
BEGIN, END = "<!-- benchmarks/bench_cost.py -->", "<!-- end -->"
# The command line in a process of its own, with a clock around each run of benchmark_model.
TIMED = """
import atexit, json, sys, time
from mobilekit.cli.app import main
from mobilekit.bench.devices.workspace import AndroidWorkspace

target, runs, run = sys.argv.pop(1), [], AndroidWorkspace.run

def timed(workspace, arguments, **options):
    start = time.perf_counter()
    finished = run(workspace, arguments, **options)
    if any(word.startswith("--graph=") for word in arguments):
        runs.append((time.perf_counter() - start, arguments))
    return finished

AndroidWorkspace.run = timed
atexit.register(lambda: json.dump(runs, open(target, "w")))
main()
"""


@dataclass(frozen=True)
class Session:
    """One bench."""

    own: float
    """Seconds of its wall time that are not benchmark_model's."""
    tool: float
    """Seconds of one run of benchmark_model."""
    command: list[str]
    """The last run's."""
    device: dict[str, Any]


def bench(options: argparse.Namespace, rounds: int, folder: Path) -> Session:
    """Run one bench."""
    notes = folder / "runs.json"
    words = [str(options.file), "--device", options.device, "--rounds", str(rounds), "--runs", "3", "--json"]
    if options.benchmark_binary:
        words += ["--benchmark-binary", options.benchmark_binary]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(notes), "bench", *words], stdout=subprocess.PIPE, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"the bench ended with {done.returncode}")
    runs = json.loads(notes.read_text())
    tool = sum(seconds for seconds, _ in runs)
    return Session(wall - tool, tool / len(runs), runs[-1][1], json.loads(done.stdout)["device"])


def by_hand(serial: str, command: list[str]) -> float:
    """Return the wall time of the same run through the adb program, in seconds."""
    from adbutils import adb_path  # type: ignore[import-untyped]

    start = time.perf_counter()
    subprocess.run(
        [adb_path(), "-s", serial, "shell", shlex.join(command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def bring(word: str, folder: Path) -> list[float]:
    """Return the seconds that a file takes to the device: when it is not there, when it is, and once more."""
    file = folder / "weights.tflite"
    file.write_bytes(os.urandom(SENT_BYTES))
    seconds = []
    for _ in range(3):
        [device] = find_devices(word).devices
        with device.open_workspace() as workspace:
            start = time.perf_counter()
            workspace.install(file)
            seconds.append(time.perf_counter() - start)
        time.sleep(3)  # a file is trusted without its digest when it has not changed for a while
    return seconds


def measure(options: argparse.Namespace) -> str:
    """Run all benches, and return the table as Markdown."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sent = bring(options.device, folder)
        first = bench(options, 1, folder)
        serial = first.device["name"].partition(":")[2]
        short, long, hand = [], [], []
        for _ in range(options.repeats):
            short.append(bench(options, 1, folder))
            long.append(bench(options, 1 + options.rounds, folder))
            hand.append(by_hand(serial, long[-1].command))
    rounds = [(many.own - one.own) / options.rounds for one, many in zip(short, long, strict=True)]
    starts = [one.own - each for one, each in zip(short, rounds, strict=True)]
    rows = {
        "mobilekit's own time, once a bench": statistics.median(starts),
        "mobilekit's own time, more each round": statistics.median(rounds),
        "benchmark_model, one run of 3 inferences": statistics.median(each.tool for each in long),
        "the same command by hand with `adb shell`": statistics.median(hand),
        f"a file of {SENT_BYTES / 1e6:.0f} MB that is not on the device": sent[0],
        "the same file in the next bench, where it is found by its SHA-256": sent[1],
        "the same file in later benches": sent[2],
    }
    return _table(options.repeats, first.device, rows)


def _table(repeats: int, device: dict[str, Any], rows: dict[str, float]) -> str:
    return "\n".join(
        [
            "| | s |",
            "|---|---|",
            *(f"| {name} | {seconds:.2f} |" for name, seconds in rows.items()),
            "",
            f"Medians of {repeats} benches, by `benchmarks/bench_cost.py` on {datetime.date.today()}:",
            f"{device['model']} ({device['abi']}, {device['os']}{', emulated' if device['emulated'] else ''}), from",
            f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, mobilekit "
            f"{mobilekit.__version__}.",
        ]
    )


def write(table: str) -> None:
    """Put the table between the markers in docs/bench.md."""
    before, begin, rest = DOCS.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCS} has no place for the table: {BEGIN} ... {END}")
    DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {platform.machine()}"
    return platform.machine()


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--device", default="adb")
    parser.add_argument("--benchmark-binary")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    table = measure(options)
    print(table)
    if options.write:
        write(table)


if __name__ == "__main__":
    main()
