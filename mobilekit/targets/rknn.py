"""`rknn:CHIP`: Rockchip's own compiler for the NPU of a chip, in float16.

It comes from PyPI as `rknn-toolkit2`, under Rockchip's terms, and asks for older packages than an export does: it has a
Python of its own, which `MOBILEKIT_RKNN` names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilekit.artifacts.analysis.runtime_faults import faults_in
from mobilekit.artifacts.op_list import list_ops
from mobilekit.errors import MobilekitError, ToolError
from mobilekit.targets.answer import Answer, Refusal, Target, counted

PACKAGE = "rknn-toolkit2"
TESTED = "2.5.0"
CHIPS = ("rk3588", "rk3576", "rk3566", "rk3568", "rk3562")
"""What its config takes as target_platform, of those that compute in float16."""
VARIABLE = "MOBILEKIT_RKNN"
_SECONDS = 600
_VERSION = f"from importlib.metadata import version; print(version({PACKAGE!r}))"
_PROGRAM = """
import sys
from rknn.api import RKNN
rknn = RKNN(verbose=True)
chip, path = sys.argv[1:]
failed = rknn.config(target_platform=chip) or rknn.load_onnx(model=path) or rknn.build(do_quantization=False)
sys.exit(failed and 3)
"""
_FAILED = 3  # the program's exit code where the compiler said so
_ENDS = ("InputOperator", "OutputOperator")
_OP = re.compile(
    r"^D RKNN: \[[^\]]*\] \d+ +(?P<kind>\w+) +\w+ +(?P<where>NPU|CPU|GPU) .* \w+:(?P<name>\S+) *$", re.MULTILINE
)
_ERROR = re.compile(r"^E (?:RKNN: \[[^\]]*\] |build: |load_onnx: )?(?P<words>.+)$", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class RKNN(Target):
    """Rockchip's NPU."""

    suffix = ".onnx"
    reads = ".onnx files"

    def why_not(self) -> MobilekitError | None:
        """Return what is missing."""
        return None if _installed() else _missing()

    def ask(self, path: Path) -> Answer:
        """Have Rockchip's compiler take a file.

        Raises:
            ToolError: It is not installed, came to no end, or died.
        """
        version = _installed()
        if version is None:
            raise _missing()
        words = [_python(), "-W", "ignore", "-c", _PROGRAM, self.name.partition(":")[2], str(path.absolute())]
        with TemporaryDirectory(prefix="mobilekit-") as folder:  # it leaves files where it runs
            try:
                done = _run(words, folder, _SECONDS)
            except subprocess.TimeoutExpired as error:
                raise ToolError(f"{PACKAGE} came to no end on {path.name} in {_SECONDS} s.") from error
        log = _COLOR.sub("", done.stdout)
        if done.returncode not in (0, _FAILED):
            last = (log.strip().splitlines() or ["it said nothing"])[-1]
            raise ToolError(f"{PACKAGE} ended with exit status {done.returncode} on {path.name}: {last.rstrip('.')}.")
        return read_answer(self.name, path, done.returncode == 0, log, version)


def read_answer(name: str, path: Path, is_built: bool, log: str, version: str) -> Answer:
    """Return what Rockchip's compiler takes of a file; it counts the ops that it has made of the file's.

    Args:
        name: The target.
        path: The file.
        is_built: Whether it came to an end.
        log: What it said.
        version: Its own.
    """
    ops, asked = list_ops(path), f"{PACKAGE} {version}, float16"
    if not is_built:
        found = _ERROR.search(log)
        refused = Refusal("file", 1, found["words"].strip().rstrip(".") if found else "it said nothing")
        return Answer(name, path.name, 0, len(ops), 0, (refused,), asked)
    modules = {f"{op.module}/{op.op}": op.module for op in ops if op.module}
    made = [found for found in _OP.finditer(log) if found["kind"] not in _ENDS]
    places = [found["where"] == "NPU" for found in made]
    left = counted(
        (found["kind"], f"left to the {found['where']}", modules.get(found["name"]))
        for found in made
        if found["where"] != "NPU"
    )
    partitions = sum(on_npu for on_npu, _ops in groupby(places))
    wrong = tuple(
        Refusal(each.op, each.ops, f"{each.form}: {each.text}", help=f"{each.advice}.")
        for each in faults_in(path, version, runtime=PACKAGE)
    )
    return Answer(name, path.name, sum(places), len(made), partitions, left, asked, wrong=wrong)


def _installed() -> str | None:
    """Return the compiler's version; None where it is not there."""
    try:
        done = _run([_python(), "-c", _VERSION], None, 60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else None


def _missing() -> ToolError:
    named = os.environ.get(VARIABLE)
    what = f"{named}, which {VARIABLE} names, has no {PACKAGE}" if named else f"{PACKAGE} is not installed"
    return ToolError(
        f"{what}: Rockchip's compiler is in it.",
        f"python3.11 -m venv rknn; rknn/bin/pip install {PACKAGE}=={TESTED} 'setuptools<81' (5 GB with its torch; "
        f"Rockchip's terms; Linux on x86-64); {VARIABLE}=rknn/bin/python",
    )


def _python() -> str:
    return os.environ.get(VARIABLE) or sys.executable


def _run(words: list[str], folder: str | None, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a Python that the user names, without a shell
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
