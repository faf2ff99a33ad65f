"""The process in which a conversion task runs: `python -m mobilekit.convert.tasks.worker TASK`.

A task is the `run` of the module of its name beside this one.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from mobilekit.store.worker_loop import serve


def run(request: Any) -> Any:
    """Run the task that the command line names; its module is imported here, where a failure is told."""
    return import_module(f"mobilekit.convert.tasks.{sys.argv[1]}").run(request)


if __name__ == "__main__":
    serve(run)
