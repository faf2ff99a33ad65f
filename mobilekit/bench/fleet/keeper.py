"""The process that holds the lease of a phone: until its standard input ends, as that does with who started it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from mobilekit.bench.fleet.lease import keep
from mobilekit.bench.fleet.schema import Farm


def _tell(said: dict[str, str]) -> None:
    try:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    except OSError:  # nobody is there any more
        pass


def main() -> None:
    """Hold the lease that a line of JSON asks for."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # it ends by itself, when it has given the phone back
    line = sys.stdin.readline()
    if not line:  # who started it ended before it asked
        return
    wanted = json.loads(line)
    keep(wanted["serial"], Farm.model_validate(wanted["farm"]), Path(wanted["base"]), _tell, sys.stdin.read)


if __name__ == "__main__":
    main()
