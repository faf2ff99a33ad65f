"""The ways from a network to files: what a user gives each tool, and what comes out where."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coverage.hub import HUB
from benchmarks.coverage.networks import size_of, spec_of
from benchmarks.onnx2tf_command import BY_TENSORFLOW, PROGRAM, UNCHANGED

Command = list[str]


@dataclass(frozen=True)
class Job:
    """One network in one way."""

    model: str
    prepared: Path
    """What `prepare` wrote."""
    folder: Path
    """Where the tool works; its other way of the same network finds its files there."""


@dataclass(frozen=True)
class Way:
    """A tool and a number format."""

    tool: str
    precision: str
    commands: Callable[[Job, str], list[Command]]
    """One after the other, by the Python that has the tool."""
    files: dict[str, str]
    """What comes out, by format."""
    is_ours: bool = False

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{self.tool}-{self.precision}"


def _mobilekit(precision: str) -> Callable[[Job, str], list[Command]]:
    def commands(job: Job, python: str) -> list[Command]:
        spec = f"hf:{job.prepared / 'hub'}" if job.model in HUB else spec_of(job.model)
        words = ["--input-size", str(size_of(job.model)), "--precision", precision, "--jobs", "1", "--no-cache"]
        return [[python, "-W", "ignore", "-m", "mobilekit", "export", spec, *words, "-o", precision]]

    return commands


def _onnx2tf(*options: str) -> Callable[[Job, str], list[Command]]:
    def commands(job: Job, python: str) -> list[Command]:
        convert = [python, "-W", "ignore", "-c", PROGRAM, "-i", "model.onnx", "-o", "out", "-n", *options]
        return [*_unless(job, "model.onnx", _by_hand("onnx", job, python)), convert]

    return commands


def _litert_torch(*steps: str) -> Callable[[Job, str], list[Command]]:
    def commands(job: Job, python: str) -> list[Command]:
        first = _unless(job, "model.tflite", _by_hand("tflite", job, python))
        return [*first, *(_by_hand(step, job, python) for step in steps)]

    return commands


def _by_hand(step: str, job: Job, python: str) -> Command:
    words = [step, job.model, str(size_of(job.model)), str(job.prepared)]
    return [python, "-W", "ignore", "-m", "benchmarks.coverage.by_hand", *words]


def _unless(job: Job, file: str, command: Command) -> list[Command]:
    return [] if (job.folder / file).exists() else [command]


_QUANTIZED = (*BY_TENSORFLOW, "-oiqt", "-qt", "per-channel", "-cind", "input", "calibration.npy", *UNCHANGED)
OURS, ONNX2TF, LITERT_TORCH = "mobilekit", "onnx2tf", "litert-torch"
WAYS = (
    Way(
        OURS,
        "float32",
        _mobilekit("float32"),
        {"onnx": "float32/model.onnx", "float32": "float32/model.float32.tflite"},
        is_ours=True,
    ),
    Way(OURS, "int8", _mobilekit("int8"), {"int8": "int8/model.int8.tflite"}, is_ours=True),
    Way(ONNX2TF, "float32", _onnx2tf(), {"onnx": "model.onnx", "float32": "out/model_float32.tflite"}),
    Way(ONNX2TF, "int8", _onnx2tf(*_QUANTIZED), {"int8": "out/model_full_integer_quant.tflite"}),
    Way(LITERT_TORCH, "float32", _litert_torch(), {"float32": "model.tflite"}),
    Way(LITERT_TORCH, "int8", _litert_torch("int8"), {"int8": "model.int8.tflite"}),
)
PACKAGES = ("torch", "timm", "transformers", "onnx", "onnxruntime", "ai-edge-litert", "onnx2tf", "litert-torch")


def python_of(way: Way, litert_torch: str | None) -> str:
    """Return the interpreter of a way.

    Raises:
        SystemExit: It needs one that was not named.
    """
    if way.tool != LITERT_TORCH:
        return sys.executable
    if litert_torch is None:
        raise SystemExit(f"{way.name} needs --litert-torch PYTHON: an interpreter that has litert-torch.")
    return litert_torch
