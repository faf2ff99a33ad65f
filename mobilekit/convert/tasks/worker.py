"""The process in which conversion tasks run: `python -m mobilekit.convert.tasks.worker MODULE...`.

A task is the `run` of the module of its name beside this one. The modules named are imported before the first request.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from mobilekit.store import memory
from mobilekit.store.worker_loop import serve


def run(request: Any) -> Any:
    """Run the task that the request names; its module is imported here, where a failure is told."""
    return import_module(f"mobilekit.convert.tasks.{request.pop('task')}").run(request)


if __name__ == "__main__":
    memory.collect_rarely()
    for name in sys.argv[1:]:
        with suppress(Exception):  # a task that needs it fails for the same reason, and that is told
            import_module(name)
    serve(run)
