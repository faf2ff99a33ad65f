"""Files that LiteRT ends its process at, found in the converters' process and not in the user's."""

from __future__ import annotations

import sys
from contextlib import suppress

from mobilekit.convert.process import OPENS


def open_once(content: bytes, name: str) -> None:
    """Let LiteRT open a file before it is written: at some that it cannot take it calls `abort`.

    What it says of others it says again where a file is measured, so that it is left to that.

    Args:
        content: A TFLite file.
        name: What the file is called if this process ends here.
    """
    from ai_edge_litert.interpreter import Interpreter

    sys.stderr.write(f"{OPENS.format(name)}\n")
    sys.stderr.flush()
    with suppress(ValueError, RuntimeError):
        Interpreter(model_content=content, num_threads=1).allocate_tensors()
