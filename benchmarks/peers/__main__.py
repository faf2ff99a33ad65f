"""The same networks through other converters and runtimes: latency, size, parity, and what the conversion takes.

    .venv/bin/python -m benchmarks.peers                      all of it; the first time takes about an hour and 6 GB
    .venv/bin/python -m benchmarks.peers convert              no more than what is new
    .venv/bin/python -m benchmarks.peers time --models ghostnetv2 --rounds 6
    .venv/bin/python -m benchmarks.peers write                docs/peers.md and docs/peers.svg from the last timings

Environments, conversions and timings are kept in mobilekit's cache folder, so each step goes on where it was left.
A conversion is made again when the weights, the calibration inputs, the tool's version or its script here changed.
Nothing else should run on the machine while `time` does: one thread is timed, and rounds of random order keep a slow
drift out of the ratios, not other load.
"""

from __future__ import annotations

import argparse

from benchmarks.peers import conversions, environments, report, timings
from benchmarks.peers.tools import MODELS
from mobilekit.errors import MobilekitError

STEPS = ("set-up", "convert", "time", "write")


def main() -> None:
    """Carry out the steps."""
    parser = argparse.ArgumentParser(
        "benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], help=f"of {', '.join(STEPS)}; all without")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="convert what is converted already, too")
    options = parser.parse_args()
    steps, models = options.steps or STEPS, tuple(options.models)
    if "set-up" in steps:
        for environment in environments.REQUIREMENTS:
            environments.set_up(environment)
    if "convert" in steps:
        conversions.convert_all(models, options.again)
    if "time" in steps:
        try:
            timings.time_all(models, options.rounds, options.seed)
        except MobilekitError as error:
            raise SystemExit(str(error)) from None
    if "write" in steps:
        report.write()


if __name__ == "__main__":
    main()
