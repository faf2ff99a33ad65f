"""Runs inside the emulated ARM Python: opens one TFLite file, and marks two inferences for the plugin that counts.

Its arguments are the file, the path of the reply, and the offsets of the plugin's stops in LiteRT's library. The reply
is JSON: `version` of LiteRT, `base`, the address of its library, `libraries`, [start, end, path] of all code, and
`partitions`, a list of the ops inside each.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

LIBRARY = "libpywrap_litert_common.so"
INFERENCES = 2
"""They are compared: a count is what both have."""
_STOP, _COUNT = -7701, -7702  # of plugin/count.c
_MAPS = Path("/proc/self/maps")


def main(file: str, reply: str, offsets: list[int]) -> None:
    """Count the inferences of a file.

    Raises:
        ToolError: LiteRT cannot open the file.
    """
    import ai_edge_litert.interpreter

    from mobilekit.artifacts.delegate import delegated_ops
    from mobilekit.artifacts.litert import LiteRTRuntime
    from mobilekit.bench.litert_worker import fill_inputs

    base = min(start for start, _, path in _mapped("") if Path(path).name == LIBRARY)
    for offset in offsets:  # before anything runs there
        _tell(_STOP, base + offset)
    interpreter = LiteRTRuntime(Path(file)).interpreter
    fill_inputs(interpreter)
    interpreter.invoke()  # what happens once, such as the packing of weights, does not count
    for _ in range(INFERENCES):
        _tell(_COUNT, 1)
        interpreter.invoke()
        _tell(_COUNT, 0)
    content = {
        "version": ai_edge_litert.__version__,
        "libraries": [(start, end, path) for start, end, path in _mapped("x")],
        "base": base,
        "partitions": [sorted(members) for members in delegated_ops(interpreter)],
    }
    Path(reply).write_text(json.dumps(content))


def _mapped(mode: str) -> list[tuple[int, int, str]]:
    """Return start, end and path of all files in memory whose mode holds a letter."""
    found = []
    for line in _MAPS.read_text().splitlines():
        span, flags, *_, path = line.split(maxsplit=5)
        start, end = (int(word, 16) for word in span.split("-"))
        if path.startswith("/") and mode in flags:
            found.append((start, end, path))
    return found


def _tell(word: int, value: int) -> None:
    with suppress(OSError):  # the kernel knows no such file, and the plugin has heard it
        os.lseek(word, value, os.SEEK_SET)


if __name__ == "__main__":
    from mobilekit.errors import MobilekitError

    try:
        main(sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]])
    except MobilekitError as error:
        sys.exit(error.what.rstrip("."))
