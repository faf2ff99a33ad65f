"""`gpu`: LiteRT's own GPU accelerator (ML Drift, over WebGPU and Vulkan), which compiles and runs the files itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mobilekit.artifacts.analysis.runtime_faults import faults_in
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.on_device import OnDevice
from mobilekit.artifacts.op_list import ListedOp, list_ops
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import MobilekitError, ToolError, first_line
from mobilekit.store.array_worker import ArrayWorker
from mobilekit.store.stages import Stage
from mobilekit.store.versions import installed_version
from mobilekit.store.worker import Worker, WorkerError, json_worker
from mobilekit.targets.answer import Answer, Refusal, Target, counted
from mobilekit.targets.gpu_setup import COMMAND, environment, find_problem, own_driver

_REFUSALS = "Following operations are not supported by GPU delegate:"
_COUNTS = re.compile(r"(?P<taken>No|\d+) operations will run on the GPU, and (?:the remaining|all) (?P<left>\d+)")
_ADAPTER = re.compile(r"Selected adapter: (?P<name>[^,\n]+)")
_INVALID = re.compile(r"Validation error: (?P<words>.+)")
_NO_DEVICE = re.compile(r"Failed to initialize WebGPU environment: (?P<words>[^\n]+)")
_TENSOR = re.compile(r'Tensor "(?P<name>[^"]+)"')
_UNSAID = "left as well, and nothing said of them"
_SECONDS = 300
"""For one file: SwiftShader takes 1 to 5 for a network of 300 ops, lavapipe up to 90."""


class GPU(Target):
    """LiteRT's GPU accelerator, on the GPU that `mobilekit devices setup-gpu` made or that the user names."""

    suffix = ".tflite"
    reads = ".tflite files"

    def why_not(self) -> MobilekitError | None:
        """Return what is missing."""
        return find_problem()

    def ask(self, path: Path) -> Answer:
        """Have the accelerator compile a file.

        Raises:
            ToolError: It died, came to no end, or found no GPU.
            ToolError: It is not set up.
        """
        with GPUProcess() as process:
            refusal, log = process.compile(path)
        return read_answer(path, refusal, log)


def read_answer(path: Path, refusal: str | None, log: str) -> Answer:
    """Return what the accelerator takes of a file.

    Args:
        path: The file.
        refusal: What it said when it was to run all of the file; None where it does.
        log: What LiteRT logged.
    """
    ops = list_ops(path)
    asked = f"LiteRT {installed_version('ai-edge-litert')}, GPU accelerator on {_adapter(log)}"
    answer = Answer("gpu", path.name, len(ops), len(ops), 1, (), asked, wrong=_wrong(path))
    invalid = _INVALID.search(log)
    if invalid:  # a shader that was not built computes nothing, and LiteRT goes on as if it did
        broken = Refusal("shader", len(_INVALID.findall(log)), f"its own shader is refused: {invalid['words'].strip()}")
        return replace(answer, taken=0, partitions=None, refused=(broken,))
    if refusal is None:
        return answer
    counts = _COUNTS.search(log)
    words = list(_refusals(log, ops))
    if counts is None:
        words = words or [("model", first_line(refusal.split("└")[-1]), None)]
    taken = int(counts["taken"]) if counts and counts["taken"] != "No" else 0
    unsaid = int(counts["left"]) - len(words) if counts else 0
    words += [("others", _UNSAID, None)] * unsaid
    return replace(answer, taken=taken, partitions=None, refused=counted(words))


def _wrong(path: Path) -> tuple[Refusal, ...]:
    """Return the ops that the accelerator is known to compute wrongly."""
    faults = faults_in(path, on_gpu=True)
    return tuple(Refusal(each.op, each.ops, f"{each.form}: {each.text}", help=f"{each.advice}.") for each in faults)


def _refusals(log: str, ops: tuple[ListedOp, ...]) -> list[tuple[str, str, str | None]]:
    """Return kind, words and module of what the log says is refused; a name in the words leads to the module."""
    modules = {made.name: op.module for op in ops for made in op.outputs}
    kinds = {op.op for op in ops}
    found: list[tuple[str, str, str | None]] = []
    for line in log.partition(_REFUSALS)[2].splitlines():
        if _COUNTS.search(line):
            break
        kind, colon, words = line.strip().partition(": ")
        if colon and kind in kinds:
            named = _TENSOR.search(words)
            plain = _TENSOR.sub("a tensor", words).rstrip(".")
            found.append((kind, plain, modules.get(named["name"]) if named else None))
    return found


def _adapter(log: str) -> str:
    found = _ADAPTER.search(log)
    return found["name"].strip() if found else "an unnamed device"


class GPUProcess(ArrayWorker):
    """LiteRT with its GPU accelerator, in a process that lives while the block lasts.

    Args:
        worker: What answers instead, for tests.

    Raises:
        ToolError: It is not set up.
    """

    def __init__(self, worker: Worker | None = None) -> None:
        problem = find_problem() if worker is None else None
        if problem:
            raise problem
        super().__init__(worker or _worker(environment()))

    def compile(self, path: Path) -> tuple[str | None, str]:
        """Have a file compiled, and return its refusal, None where it is taken whole, and the log."""
        reply = self._ask({"do": "compile", "path": str(path.absolute())})
        return reply["refusal"], self._worker.log()

    def has_float16(self) -> bool:
        """Return whether this GPU computes in float16."""
        return bool(self._ask({"do": "probe"})["float16"])

    def run(self, path: Path, layouts: Mapping[str, str], inputs: Arrays, float16: bool) -> Arrays:
        """Run a file, and return its outputs by name.

        Raises:
            ToolError: The GPU does not run all of it, or builds a shader that it refuses itself.
        """
        request = {"do": "run", "path": str(path.absolute()), "layouts": dict(layouts), "float16": float16}
        return self._run(request, inputs)[0]

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            reply = self._worker.ask(request, seconds=_SECONDS)
        except WorkerError as error:
            self._check_device()
            if error.is_late:
                raise ToolError(f"LiteRT's GPU accelerator came to no end in {_SECONDS} s.") from error
            if error.code is None:
                raise ToolError(f"On the GPU: {error.words}") from error
            raise ToolError(f"LiteRT's GPU accelerator {error.ending}: {error.words.rstrip('.')}.") from error
        self._check_device()
        if request["do"] == "run":
            self._check_shaders(Path(request["path"]).name)
        return reply

    def _check_shaders(self, name: str) -> None:
        """See that all shaders of a file were built: LiteRT goes on without one that was not."""
        if invalid := _INVALID.search(self._worker.log()):
            raise ToolError(
                f"On the GPU, LiteRT makes a shader of {name} that it refuses itself, and what it gives is wrong: "
                f"{invalid['words'].strip()}.",
                "Take another precision's file on this GPU.",
            )

    def _check_device(self) -> None:
        """See that there was a GPU: LiteRT says of a file that it is refused where there is none."""
        if found := _NO_DEVICE.search(self._worker.log()):
            hint = "Is the driver there that VK_DRIVER_FILES names?" if own_driver() else f"Run `{COMMAND}` again."
            raise ToolError(f"LiteRT's GPU accelerator finds no GPU: {found['words'].strip()}.", hint)


class GPURuntime(Runtime):
    """A TFLite model on the GPU."""

    def __init__(self, process: GPUProcess, path: Path, layouts: Mapping[str, str], float16: bool) -> None:
        self._process, self._path, self._layouts, self._float16 = process, path, layouts, float16
        here = LiteRTRuntime(path)
        self.name, self.inputs = path.name, here.inputs

    def _run(self, inputs: Arrays) -> Arrays:
        return self._process.run(self._path, self._layouts, inputs, self._float16)


def on_gpu(process: GPUProcess) -> OnDevice:
    """Return the GPU as a device: it computes in float16 where that is the file's precision, and in float32 else.

    Args:
        process: It lives while files are open there.
    """
    why = "" if process.has_float16() else "this GPU computes in float32 alone, as SwiftShader does"
    return OnDevice(
        lambda stage, path, layouts: GPURuntime(process, path, layouts, stage is Stage.GPU_FLOAT16),
        "gpu",
        {Stage.GPU_FLOAT16: why} if why else {},
    )


def try_gpu(variables: Mapping[str, str]) -> None:
    """See that a file runs on a GPU.

    Args:
        variables: Those of the process that is to use it.

    Raises:
        ToolError: It does not run.
    """
    with GPUProcess(_worker(variables)) as process:
        process.has_float16()


def _worker(variables: Mapping[str, str]) -> Worker:
    return json_worker("mobilekit.targets.gpu_worker", environment=variables)
