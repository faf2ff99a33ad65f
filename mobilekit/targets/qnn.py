"""`qnn:SOC`: Qualcomm's own compiler for its NPU (HTP), asked through ONNX Runtime's QNN provider on this machine.

It comes from PyPI as `onnxruntime-qnn`, under Qualcomm's license, which whoever installs it accepts; nothing of it is
part of mobilekit. Its compiler for phones runs on x86-64 Linux as well, and takes a graph for a chip that is named.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mobilekit.artifacts.on_device import OnDevice
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.op_list import ListedOp, list_ops
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import MobilekitError, ToolError, UsageError
from mobilekit.store.array_worker import ArrayWorker
from mobilekit.store.versions import installed_version
from mobilekit.store.worker import WorkerError, json_worker
from mobilekit.targets.answer import Answer, Refusal, Target, counted

PACKAGE = "onnxruntime-qnn"
TESTED = "2.7.0"
# Of each system on a chip its number and its Hexagon's version, by QAIRT's QnnTypes.h (QNN_SOC_MODEL_SM8450 and so on).
SOCS = {"SM8450": (36, 69), "SM8550": (43, 73), "SM8650": (57, 75), "SM8750": (69, 79), "SM8850": (87, 81)}
_SECONDS = 600
_PROVIDER = "QNNExecutionProvider"
_MOST_AXES = 5
"""That Qualcomm's operators take; its compiler says of more that the operator is not valid."""
_BYTES = f"of an input in bytes: every byte but 0 becomes 1, without a word, as of {PACKAGE} {TESTED}"
_FAILED = re.compile(
    r"Validation FAILED for \d+ nodes? in OrtNodeUnit \((?P<kind>\w+)\) :\n"
    r"\s*Operator type: \w+ Node name: (?P<name>.*?) Node index: \d+.*?\n\s*REASON : (?P<words>[^\n]+)",
    re.DOTALL,
)
_INVALID = re.compile(
    r"(?P<words>QNN\.\w+\(\) failed) for node `(?P<name>[^`]+)` of type `\w+` with (?P<code>[^\n\x1b]+)"
)


class QNN(Target):
    """Qualcomm's NPU of a system on a chip, in float16."""

    suffix = ".onnx"
    reads = ".onnx files"

    def why_not(self) -> MobilekitError | None:
        """Return what is missing."""
        if find_spec("onnxruntime_qnn"):
            return None
        return ToolError(
            f"{PACKAGE} is not installed: Qualcomm's compiler is in it.",
            f"pip install --no-deps {PACKAGE}=={TESTED} (98 MB; Qualcomm's license; Linux with glibc 2.35 or newer)",
        )

    def ask(self, path: Path) -> Answer:
        """Have Qualcomm's compiler take a file.

        Raises:
            ToolError: It is not installed, died, or refused the file.
        """
        with QNNProcess(self.name.partition(":")[2]) as process:
            groups, log = process.compile(path)
        return read_answer(self.name, path, groups, log)


def read_answer(name: str, path: Path, groups: list[dict[str, Any]], log: str) -> Answer:
    """Return what Qualcomm's compiler takes of a file.

    Args:
        name: The target.
        path: The file.
        groups: Those of the worker's reply.
        log: What the compiler said.
    """
    nodes = [(group["provider"], *node) for group in groups for node in group["nodes"]]
    graph = read_onnx(path).graph
    ops = {node.name: op for node, op in zip(graph.node, list_ops(path), strict=True)}
    reasons = _reasons(log)
    refused = counted(
        (kind, _words(reasons.get(node, ""), ops.get(node)), ops[node].module if node in ops else None)
        for provider, kind, node in nodes
        if provider != _PROVIDER
    )
    taken = sum(provider == _PROVIDER for provider, _kind, _node in nodes)
    partitions = sum(group["provider"] == _PROVIDER for group in groups)
    asked = f"{PACKAGE} {installed_version(PACKAGE)} in ONNX Runtime {installed_version('onnxruntime')}, float16"
    wrong = _wrong(graph) if any((provider, kind) == (_PROVIDER, "Cast") for provider, kind, _node in nodes) else ()
    return Answer(name, path.name, taken, len(nodes), partitions, refused, asked, wrong=wrong)


def _wrong(graph: Any) -> tuple[Refusal, ...]:
    """Return the casts of inputs in bytes, which the library computes as those of truth values."""
    from onnx import TensorProto

    inputs = {one.name for one in graph.input if one.type.tensor_type.elem_type == TensorProto.UINT8}
    casts = sum(node.op_type == "Cast" and node.input[0] in inputs for node in graph.node)
    help_ = "A DequantizeLinear of scale 1, which exports have in its place, is computed rightly."
    return (Refusal("Cast", casts, _BYTES, help=help_),) if casts else ()


def _reasons(log: str) -> dict[str, str]:
    """Return the compiler's words on each node that it refused; the more exact ones where there are two."""
    exact = {found["name"]: f"{found['words']} with {found['code'].strip()}" for found in _INVALID.finditer(log)}
    return {found["name"]: found["words"].strip().rstrip(".") for found in _FAILED.finditer(log)} | exact


def _words(reason: str, op: ListedOp | None) -> str:
    """Return a reason, with the number of axes where these are too many."""
    axes = max((len(made.shape) for made in op.outputs if made.shape), default=0) if op else 0
    more = f"; {axes} axes" if axes > _MOST_AXES else ""
    return (reason or "not taken, and nothing said") + more


class QNNProcess(ArrayWorker):
    """Qualcomm's compiler and its NPU's library, in a process that lives while the block lasts.

    Args:
        soc: The system on a chip, one of `SOCS`.

    Raises:
        ToolError: It is not installed.
        UsageError: There is no such chip.
    """

    def __init__(self, soc: str) -> None:
        if soc not in SOCS:
            raise UsageError(f"There is no target 'qnn:{soc}'.", f"Known: {', '.join(f'qnn:{one}' for one in SOCS)}.")
        if problem := QNN("qnn").why_not():
            raise problem
        self._chip = dict(zip(("soc", "arch"), SOCS[soc], strict=True))
        super().__init__(json_worker("mobilekit.targets.qnn_worker"))

    def compile(self, path: Path) -> tuple[list[dict[str, Any]], str]:
        """Have a file compiled, and return the groups of its nodes, and the log."""
        groups: list[dict[str, Any]] = self._ask({"do": "compile", "path": str(path.absolute())})["groups"]
        return groups, self._worker.log()

    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Run a file in the NPU's library, in float16; return its outputs by name."""
        outputs, _reply = self._run({"do": "run", "path": str(path.absolute())}, inputs)
        return outputs

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            return self._worker.ask({**self._chip, **request}, seconds=_SECONDS)
        except WorkerError as error:
            ending, name = "came to no end" if error.is_late else error.ending, Path(request["path"]).name
            raise ToolError(f"Qualcomm's NPU library {ending} on {name}: {error.words.rstrip('.')}.") from error


class _NPURuntime(Runtime):
    """An ONNX model in Qualcomm's NPU library."""

    def __init__(self, process: QNNProcess, path: Path) -> None:
        self._process, self._path = process, path
        self.name, self.inputs = path.name, open_artifact(path, {}).inputs

    def _run(self, inputs: Arrays) -> Arrays:
        feeds = {info.name: inputs[info.name].astype(info.dtype, copy=False) for info in self.inputs}
        return self._process.run(self._path, feeds)


def on_npu(process: QNNProcess) -> OnDevice:
    """Return the NPU as a device, which runs the ONNX file in float16.

    Args:
        process: It lives while files are open there.
    """
    return OnDevice(lambda _stage, path, _layouts: _NPURuntime(process, path), "npu")
