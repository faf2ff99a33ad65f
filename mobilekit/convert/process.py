"""Runs a conversion task in a process of its own, with its output captured.

Converters print a lot, call `sys.exit`, need environment variables set before they are imported, and now and then
crash. In a process of their own none of that reaches ours, and their memory goes when they end.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mobilekit.errors import FullDiskError, ToolError
from mobilekit.store.worker import Worker, WorkerError, json_worker

_FULL_DISK = 2**20  # bytes left, at which a tool's own words are cut off as well
_LONGEST_QUOTE = 300
_SHARED: dict[Path, Worker] = {}
"""The process that tasks in a scratch folder share."""
# Who is blamed when a task does not say itself which of its tools failed.
_TOOLS = {
    "simplify": "onnxsim",
    "tflite": "the TFLite conversion",
    "quantize": "the TFLite conversion",
    "quantize_onnx": "ONNX Runtime's quantizer",
}
OPENS = "LiteRT opens the {} file"
"""The last line of a log where LiteRT ends the process at a file."""
ANOTHER_WAY = "mobilekit: this failed, and is done another way"
"""A line of a task's log behind which nothing before is to blame."""
# How onnx2tf and TensorFlow Lite's converter name the op at fault.
_OP_NAMES = (r"onnx_op_name: *(\S+)", r"(?:TF Select|Custom) ops: (.+)", r"'(tf\.\w+)' op is")
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",  # converters iterate over sets; a fixed order keeps artifacts the same
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_USE_LEGACY_KERAS": "1",
}


def run_task(task: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a task of `mobilekit.convert.tasks` and return its reply.

    The worker ends when this process does, however that ends.

    Args:
        task: Name of the task.
        request: JSON data for it; paths must be absolute.
        folder: Scratch folder: the worker's working directory, where its output stays as `log`.

    Raises:
        ToolError: The task failed; the message has the op and the tool's own words.
        FullDiskError: So did the disk.
    """
    try:
        with _worker_in(folder) as worker:
            answer: dict[str, Any] = worker.ask({"task": task, **request})
    except WorkerError as error:
        raise explain(task, error, folder) from error
    return answer


@contextmanager
def one_process(folder: Path, ahead: Sequence[str] = ()) -> Iterator[None]:
    """Let the tasks of the block in this scratch folder share a process, which imports their tools once.

    Args:
        folder: The scratch folder.
        ahead: What the process imports at once, while this one does something else.
    """
    with _started(folder, ahead) as worker:
        _SHARED[folder] = worker
        try:
            yield
        finally:
            _SHARED.pop(folder, None)


@contextmanager
def _worker_in(folder: Path) -> Iterator[Worker]:
    """Yield the process that the tasks in a folder share, or one for this task alone."""
    shared = _SHARED.get(folder)
    if shared is None:
        with _started(folder) as worker:
            yield worker
        return
    try:
        yield shared
    except WorkerError as error:
        if error.code is not None:  # it died: the next task gets another
            del _SHARED[folder]
        raise


def _started(folder: Path, ahead: Sequence[str] = ()) -> Worker:
    # Converters call tools of this environment by name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    # What tools leave behind when they are ended, as TensorFlow does, goes with the scratch folder.
    environment = {**_ENVIRONMENT, "PATH": path, "TMPDIR": str(folder.absolute())}
    return json_worker("mobilekit.convert.tasks.worker", ahead, folder=folder, environment=environment)


def explain(task: str, failure: WorkerError, folder: Path) -> ToolError:
    """Return what a task's failure is to its user: the op and the tool's own words.

    Args:
        task: Name of the task.
        failure: What its worker said.
        folder: The task's scratch folder.
    """
    if shutil.disk_usage(folder).free < _FULL_DISK:
        return FullDiskError(f"The disk of {folder.absolute().parents[1]} filled up.", "Make room, and export again.")
    words, log = failure.words, failure.log
    last = log.rpartition(ANOTHER_WAY)[2]
    op = next((match[1].strip() for pattern in _OP_NAMES if (match := re.search(pattern, f"{words}\n{last}"))), None)
    first = next((line for line in words.splitlines() if line.strip()), "it said nothing")
    if unsupported := re.search(r"'tf\.\w+' op is [^\n]+", words):
        first = unsupported[0]
    short = first if len(first) <= _LONGEST_QUOTE else f"{first[:_LONGEST_QUOTE]}…"
    opened = re.search(OPENS.format(r"(\w+)") + r"\s*(?:INFO.*\s*)*\Z", last)
    if failure.signal and opened:
        return ToolError(
            f"LiteRT ended its process ({failure.signal}) as it opened the {opened[1]} file, and said nothing.",
            "Nor could an app open it. A rewrite may keep out what LiteRT cannot take; the default recipe has all.",
        )
    if failure.signal:
        short = f"it was killed by {failure.signal}; its last words: {short}"
    hint = (
        "SIGKILL is mostly a machine out of memory."
        if failure.signal == "SIGKILL"
        else "`mobilekit --debug export MODEL --strict` shows all of the tool's output."
    )
    tool = failure.tool or _TOOLS.get(task, task)
    error = ToolError(f"{tool} failed{f' at the op {op}' if op else ''}: {short}", hint)
    error.add_note(f"Output of {task}:\n{log}")
    return error
