"""The converters that are compared: the commands that a user of each would give, and the file that comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.onnx2tf_command import BY_TENSORFLOW, UNCHANGED
from benchmarks.peers.environments import OWN, python

MODELS = ("ghostnetv2", "ghostnet", "efficientvit_b1", "shufflenet")
PRECISIONS = ("float32", "int8")
"""That are timed; `benchmarks/arm.py` counts `dynamic` as well, of those that have it."""


@dataclass(frozen=True)
class Job:
    """One model in one precision."""

    model: str
    precision: str
    shared: Path
    """Folder of what `prepare` made."""

    @property
    def facts(self) -> dict[str, Any]:
        """The model's input size, its MACs and its limits."""
        content: dict[str, Any] = json.loads((self.shared / "facts.json").read_text())
        return content

    def network(self) -> dict[str, Any]:
        """Return the arguments with which a peer loads the network."""
        return {
            "model": self.model,
            "weights": str(self.shared / "weights.safetensors"),
            "size": self.facts["size"],
            "calibration": str(self.shared / "calibration.npy"),
        }


Command = list[str]


@dataclass(frozen=True)
class Tool:
    """A converter, its runtime, and how it is used."""

    name: str
    environment: str
    runtime: str
    """What runs its files: the module of a worker."""
    commands: Callable[[Job], list[Command]]
    """Given in a folder of their own, one after another."""
    files: dict[str, str]
    """The file that they leave there, by precision."""
    packages: tuple[str, ...]
    """Whose versions matter."""
    sources: tuple[str, ...] = ()
    """Its modules here, besides `network` and `worker`."""


def request(module: str, environment: str, action: str, arguments: dict[str, Any]) -> Command:
    """Return the command that has a worker carry out a request."""
    words = json.dumps({action: arguments})
    return [str(python(environment)), "-W", "ignore", "-m", f"benchmarks.peers.{module}", words]


def _mobilekit(job: Job) -> list[Command]:
    words = ["export", job.model, "--precision", job.precision, "--no-cache", "-o", "bundle"]
    return [[str(python(OWN)), "-m", "mobilekit", *words]]


def _onnx(job: Job) -> Command:
    return request("onnx2tf_peer", OWN, "convert", job.network())


def _onnx2tf(job: Job) -> list[Command]:
    command = [str(python(OWN).parent / "onnx2tf"), "-i", "model.onnx", "-o", "out", "-n"]
    if job.precision == "dynamic":
        command += ["-odrqt"]
    if job.precision == "int8":
        command += [*BY_TENSORFLOW, "-oiqt", "-qt", "per-channel", "-cind", "input", "calibration.npy", *UNCHANGED]
    return [_onnx(job), command]


def _litert_torch(job: Job) -> list[Command]:
    return [request("litert_torch_peer", "litert-torch", "convert", {**job.network(), "precision": job.precision})]


def _onnxruntime(job: Job) -> list[Command]:
    arguments = {"calibration": job.network()["calibration"]}
    quantize = [request("onnxruntime_peer", "onnxruntime", "convert", arguments)]
    return [_onnx(job), *(quantize if job.precision == "int8" else [])]


def _executorch(job: Job) -> list[Command]:
    return [request("executorch_peer", "executorch", "convert", {**job.network(), "precision": job.precision})]


def _named(pattern: str) -> dict[str, str]:
    return {precision: pattern.format(precision) for precision in PRECISIONS}


OURS = Tool("mobilekit", OWN, "litert_peer", _mobilekit, _named("bundle/model.{}.tflite"), ("torch", "ai-edge-litert"))
PEERS = (
    Tool(
        "onnx2tf",
        OWN,
        "litert_peer",
        _onnx2tf,
        {
            "float32": "out/model_float32.tflite",
            "dynamic": "out/model_dynamic_range_quant.tflite",
            "int8": "out/model_full_integer_quant.tflite",
        },
        ("onnx2tf", "torch"),
        ("onnx2tf_peer",),
    ),
    Tool(
        "litert-torch",
        "litert-torch",
        "litert_peer",
        _litert_torch,
        {"float32": "model.tflite", "dynamic": "model.dynamic.tflite", "int8": "model.int8.tflite"},
        ("litert-torch", "ai-edge-quantizer", "torch"),
        ("litert_torch_peer",),
    ),
    Tool(
        "ONNX Runtime",
        "onnxruntime",
        "onnxruntime_peer",
        _onnxruntime,
        {"float32": "model.onnx", "int8": "model.int8.onnx"},
        ("onnxruntime",),
        ("onnx2tf_peer", "onnxruntime_peer"),
    ),
    Tool(
        "ExecuTorch",
        "executorch",
        "executorch_peer",
        _executorch,
        _named("model.pte"),
        ("executorch", "torch"),
        ("executorch_peer",),
    ),
)
TOOLS = (OURS, *PEERS)
