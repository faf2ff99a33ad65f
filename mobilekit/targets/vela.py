"""`vela:CONFIGURATION`: Arm's compiler for its microcontroller NPU (Ethos-U), which takes int8 files."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilekit.artifacts.op_list import list_ops
from mobilekit.artifacts.tflite import TFLiteGraph, type_of
from mobilekit.artifacts.tflite_check import damage_in
from mobilekit.errors import MobilekitError, ToolError
from mobilekit.store.versions import installed_version
from mobilekit.targets.answer import Answer, Refusal, Target, counted

PACKAGE = "ethos-u-vela"
TESTED = "5.2.0"
CONFIGURATIONS = (
    *("u55-32", "u55-64", "u55-128", "u55-256", "u65-256", "u65-512"),
    *("u85-128", "u85-256", "u85-512", "u85-1024", "u85-2048"),
)
"""What Vela's --accelerator-config takes, without `ethos-`."""
_MAIN = "import sys; from ethosu.vela.vela import main; sys.exit(main())"
_SECONDS = 600
_REFUSED = re.compile(
    r"Warning \(supported operators\) operator: (?P<kind>\w+), ofm: '(?P<output>[^\n]*)'\n"
    r"Reason: (?P<words>[^\n]+)"
)
_FAILED = re.compile(r"Compilation failed: (?:Error: )?(?P<words>[^\n]+)")
_TENSOR = re.compile(r" \([^()]*\)")
_FLOAT = "DataType Float"
_HELP = "The recipe leaves it in float (`int8: {float_modules, keep_float, io}`), which this NPU has not."


class Vela(Target):
    """Arm's Ethos-U."""

    suffix = ".tflite"
    reads = "int8 .tflite files"

    def takes(self, path: Path) -> bool:
        """Return whether it is an int8 file: by its name, as a bundle's, or by what is in it."""
        return path.suffix == self.suffix and ("int8" in path.name or (path.is_file() and _computes_in_int8(path)))

    def why_not(self) -> MobilekitError | None:
        """Return what is missing."""
        if find_spec("ethosu"):
            return None
        return ToolError(
            f"{PACKAGE} is not installed: Arm's compiler is in it.",
            f"pip install {PACKAGE}=={TESTED} (2 MB; Apache-2.0)",
        )

    def ask(self, path: Path) -> Answer:
        """Have Vela compile a file.

        Raises:
            ToolError: It is not installed, came to no end, or died.
        """
        configuration = f"ethos-{self.name.partition(':')[2]}"
        with TemporaryDirectory(prefix="mobilekit-") as folder:
            options = [str(path.absolute()), "--accelerator-config", configuration, "--output-dir", folder]
            try:
                done = subprocess.run(  # noqa: S603 - a program of its package, without a shell
                    [sys.executable, "-W", "ignore", "-c", _MAIN, *options],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise ToolError(f"Vela came to no end on {path.name} in {_SECONDS} s.") from error
            made = Path(folder) / f"{path.stem}_vela.tflite"
            if made.is_file():
                return read_answer(self.name, path, made, done.stdout)
        if found := _FAILED.search(done.stdout):
            return self._refused(path, found["words"])
        words = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise ToolError(f"Vela ended with exit status {done.returncode} on {path.name}: {words.rstrip('.')}.")

    def _refused(self, path: Path, words: str) -> Answer:
        """Return that Vela takes nothing of a file, for one op, which its words name by a tensor that it makes."""
        ops = list_ops(path)
        named = [op for op in ops if any(f"'{made.name}'" in words for made in op.outputs)]
        is_float = any(made.dtype == "float32" for op in named for made in op.outputs)
        modules = tuple(op.module for op in named if op.module)
        refused = Refusal("file", 1, words.strip().rstrip("."), modules, _HELP if is_float else "")
        return Answer(self.name, path.name, 0, len(ops), 0, (refused,), _asked())


def read_answer(name: str, path: Path, made: Path, log: str) -> Answer:
    """Return what Vela takes of a file.

    Args:
        name: The target.
        path: The file.
        made: What Vela made of it: a CUSTOM op for each part that the NPU runs, and the ops that it leaves.
        log: What Vela said.
    """
    ops = list_ops(path)
    kinds = TFLiteGraph(made.read_bytes()).kinds
    partitions = kinds.count("CUSTOM")
    modules = {output.name: op.module for op in ops for output in op.outputs}
    refused = counted(
        (found["kind"], _words(found["words"]), modules.get(found["output"])) for found in _REFUSED.finditer(log)
    )
    helped = tuple(_helped(each) for each in refused)
    return Answer(name, path.name, len(ops) - len(kinds) + partitions, len(ops), partitions, helped, _asked())


def _computes_in_int8(path: Path) -> bool:
    """Return whether any op of a TFLite file makes 8-bit integers; not where the file is damaged."""
    content = path.read_bytes()
    if damage_in(content):
        return False
    graph = TFLiteGraph(content)
    return any(type_of(graph.tensors[one]) == "INT8" for made in graph.results for one in made)


def _asked() -> str:
    return f"{PACKAGE} {installed_version(PACKAGE)}"


def _words(reason: str) -> str:
    """Return a reason without the names of tensors."""
    return _TENSOR.sub("", reason).strip().rstrip(".")


def _helped(refused: Refusal) -> Refusal:
    return Refusal(refused.op, refused.count, refused.words, refused.modules, _HELP if _FLOAT in refused.words else "")
