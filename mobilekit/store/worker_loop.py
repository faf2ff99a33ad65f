"""The inside of a worker: answers the requests that `Worker` sends."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from mobilekit.errors import MobilekitError


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer one request after another until the process that sends them closes the pipe, or is gone.

    Args:
        answer: Returns JSON data. What it raises, `SystemExit` too, is told as the reply; the traceback goes to the
            log.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # tools print, and their output is no reply
    requests: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        reply = _answered(answer, requests.get())
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk takes no log
                stream.flush()
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


@contextmanager
def named(tool: str) -> Iterator[None]:
    """Mark what the block raises with the name of the tool that it runs."""
    try:
        yield
    except BaseException as error:
        error.tool = tool  # type: ignore[attr-defined]
        raise


def _listen(requests: SimpleQueue[str]) -> None:
    """Pass requests on; end the process at once when there will be no more, whatever it is at."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(1)


def _answered(answer: Callable[[Any], Any], request: str) -> dict[str, Any]:
    try:
        return {"result": answer(json.loads(request))}
    except BaseException as error:
        with suppress(OSError):  # as above
            traceback.print_exc()
        return told(error)


def told(error: BaseException) -> dict[str, str]:
    """Return what was raised as a reply: `error`, its words, and `tool`, where `named` has marked it."""
    tool = {"tool": str(error.tool)} if hasattr(error, "tool") else {}
    if isinstance(error, MobilekitError):
        return {"error": error.what, **tool}
    words = str(error).strip()
    is_silent = isinstance(error, SystemExit) or not words
    return {"error": "" if is_silent else f"{type(error).__name__}: {words}", **tool}
