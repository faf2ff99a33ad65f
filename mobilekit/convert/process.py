"""Runs a conversion task in a process of its own, with its output captured.

Converters print a lot, call `sys.exit`, need environment variables set before they are imported, and now and then
crash. In a process of their own none of that reaches ours, and their memory goes when they end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mobilekit.errors import ToolError

_NOISE = re.compile(r"\x1b\[[0-9;]*m")
_FULL_DISK = 2**20  # bytes left, at which a tool's own words are cut off as well
_LONGEST_QUOTE = 300
# Who is blamed when a task does not say itself which of its tools failed.
_TOOLS = {"simplify": "onnxsim", "tflite": "the TFLite conversion", "quantise": "the TFLite conversion"}
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
    """Run a task of `mobilekit.convert.tasks.worker` and return its reply.

    The worker ends when this process does, however that ends.

    Args:
        task: Name of the task.
        request: JSON data for it; paths must be absolute.
        folder: Scratch folder: the worker's working directory, where its output stays as `TASK.log`.

    Raises:
        ToolError: The task failed; the message has the op and the tool's own words.
    """
    (folder / f"{task}.request.json").write_text(json.dumps(request))
    log = folder / f"{task}.log"
    # Converters call tools of this environment by name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "mobilekit.convert.tasks.worker", task],
            cwd=folder,
            env={**os.environ, **_ENVIRONMENT, "PATH": path, "PYTHONPATH": _python_path()},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            _end(process)
    reply = folder / f"{task}.reply.json"
    answer: dict[str, Any] = json.loads(reply.read_text()) if reply.exists() else {}
    if code != 0 or "error" in answer:
        if shutil.disk_usage(folder).free < _FULL_DISK:
            raise ToolError(f"The disk of {folder.absolute().parents[1]} filled up.", "Make room, and export again.")
        raise _explain(task, code, answer, _NOISE.sub("", log.read_text(errors="replace")))
    return answer


def _python_path() -> str:
    """Let the worker import what this process imports, also from a checkout that is not installed."""
    package = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin:
        process.stdin.close()


def _explain(task: str, code: int, answer: dict[str, Any], log: str) -> ToolError:
    words = answer.get("error") or _last_words(log)
    op = next((match[1].strip() for pattern in _OP_NAMES if (match := re.search(pattern, f"{log}\n{words}"))), None)
    first = next((line for line in words.splitlines() if line.strip()), "it said nothing")
    if unsupported := re.search(r"'tf\.\w+' op is [^\n]+", words):
        first = unsupported[0]
    short = first if len(first) <= _LONGEST_QUOTE else f"{first[:_LONGEST_QUOTE]}…"
    if code < 0:
        short = f"it was killed by {signal.Signals(-code).name}; its last words: {short}"
    hint = (
        "SIGKILL is mostly a machine out of memory."
        if code == -signal.SIGKILL
        else "`mobilekit --debug ...` shows all of the tool's output."
    )
    tool = answer.get("tool", _TOOLS.get(task, task))
    error = ToolError(f"{tool} failed{f' at the op {op}' if op else ''}: {short}", hint)
    error.add_note(f"Output of {task}:\n{log}")
    return error


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|\w*(Error|Exception))\b", line)]
    return (errors or lines or ["it said nothing"])[-1]
