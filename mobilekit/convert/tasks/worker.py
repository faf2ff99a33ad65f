"""The process in which a conversion task runs: `python -m mobilekit.convert.tasks.worker TASK` in a scratch folder.

Reads TASK.request.json, writes TASK.reply.json, and ends at once when its standard input closes, which is when the
process that started it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the task that the command line names."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = sys.argv[1]
    request = json.loads(Path(f"{task}.request.json").read_text())
    reply: dict[str, Any]
    try:
        reply = _tasks()[task](request)
    except BaseException as error:  # converters also leave through sys.exit
        traceback.print_exc()
        words = str(error).strip()
        reply = {"tool": error.tool} if hasattr(error, "tool") else {}
        if words and not isinstance(error, SystemExit):
            reply["error"] = f"{type(error).__name__}: {words}"
        Path(f"{task}.reply.json").write_text(json.dumps(reply))
        sys.exit(1)
    Path(f"{task}.reply.json").write_text(json.dumps(reply))


@contextmanager
def named(tool: str) -> Iterator[None]:
    """Mark what the block raises with the name of the tool that it runs."""
    try:
        yield
    except BaseException as error:
        error.tool = tool  # type: ignore[attr-defined]
        raise


def _tasks() -> dict[str, Any]:
    from mobilekit.convert.tasks import quantize as quantise_task
    from mobilekit.convert.tasks import simplify as simplify_task
    from mobilekit.convert.tasks import tflite as tflite_task

    return {"simplify": simplify_task.run, "tflite": tflite_task.run, "quantise": quantise_task.run}


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
