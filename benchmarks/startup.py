"""What light commands and an export that is there already cost beside the imports that they cannot do without.

    .venv/bin/python benchmarks/startup.py [--rounds 15]

Processor time of whole processes on one thread, in turns: other work on the machine adds to both alike, and the median
of each round's ratio is held to its limit. Ends with 1 where one is above.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = ("-c", "import typer, pydantic, rich.console, yaml")
AGAIN = ("-c", "import typer, pydantic, rich.console, yaml, numpy")
LIGHT = {"mobilekit --help": ("--help",), "mobilekit recipes": ("recipes",)}
LIMIT, LIMIT_AGAIN = 2.5, 5
"""A light command took 1.7 to 2.6 times its libraries' imports, and an export that is there already 4.0 times: it reads
the recipe, makes digests of the package and of the bundle's files, and shows the ledger."""


def main() -> None:
    """Measure, print, and end with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        again = ("export", "ghostnetv2_digits", "--precision", "float32", "-o", f"{folder}/bundle")
        seconds(Path(folder), "-m", "mobilekit", *again)
        found = [(name, *ratio(Path(folder), command, LIBRARIES, rounds), LIMIT) for name, command in LIGHT.items()]
        found.append(("the same export again", *ratio(Path(folder), again, AGAIN, rounds), LIMIT_AGAIN))
    for name, share, own, limit in found:
        print(f"{name:24s} {own:5.2f} s, {share:.2f} times the imports, at most {limit}")
    sys.exit(any(share > limit for _, share, _, limit in found))


def ratio(folder: Path, command: tuple[str, ...], imports: tuple[str, ...], rounds: int) -> tuple[float, float]:
    """Return the median ratio of a command's seconds to those of the imports, and its own median."""
    pairs = [(seconds(folder, "-m", "mobilekit", *command), seconds(folder, *imports)) for _ in range(rounds)]
    return statistics.median(own / other for own, other in pairs), statistics.median(own for own, _ in pairs)


def seconds(folder: Path, *arguments: str) -> float:
    """Run Python with these arguments, and return the processor seconds of it and its children."""
    before = of_children()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MOBILEKIT_CACHE": str(folder / "cache")}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    return of_children() - before


def of_children() -> float:
    """Return the processor seconds of all processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    main()
