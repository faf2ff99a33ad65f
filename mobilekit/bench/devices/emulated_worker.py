"""Runs TFLite files inside the emulated ARM Python: a request a line on standard input, a reply a line on its output.

A request is JSON: `path` of the file, `layouts` of its outputs, `inputs` and `outputs`, paths of .npz files with arrays
by name. A reply is JSON: `delegates`, the number of XNNPACK's partitions, or `error`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.errors import MobilekitError


def main() -> None:
    """Serve until standard input ends."""
    runtimes: dict[str, LiteRTRuntime] = {}
    for line in sys.stdin:
        request = json.loads(line)
        path = request["path"]
        try:
            reply: dict[str, int | str]
            if path not in runtimes:
                runtimes = {path: LiteRTRuntime(Path(path), request["layouts"])}
            runtime = runtimes[path]
            with np.load(request["inputs"]) as inputs:
                np.savez(request["outputs"], **runtime.run(dict(inputs)))
            reply = {"delegates": runtime.partitions()}
        except MobilekitError as error:
            reply = {"error": error.what}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
