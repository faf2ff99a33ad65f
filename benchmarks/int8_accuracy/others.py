"""The int8 files of other quantizers, each made in an environment of its own, and what they give."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import venvs
from benchmarks.int8_accuracy.networks import Network
from benchmarks.onnx2tf_command import BY_TENSORFLOW, PROGRAM, UNCHANGED
from benchmarks.peers.environments import variables
from benchmarks.peers.onnx2tf_peer import SAMPLE_FILE
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.recipes.schema import Recipe

Arrays = NDArray[Any]


@dataclass(frozen=True)
class Other:
    """A quantizer of others."""

    said: str
    file: str
    """What it makes."""
    packages: tuple[str, ...] = ()
    """Of its environment; none where ours has it."""

    @property
    def step(self) -> str:
        """Of `by_hand`."""
        return Path(self.file).stem


OTHERS = (
    Other("TensorFlow's converter, by onnx2tf `-oiqt`", "tensorflow.tflite"),
    Other(
        "litert-quantizer, `static_wi8_ai8`",
        "litert.tflite",
        ("litert-quantizer==0.11.0", "ai-edge-litert==2.3.0", "numpy==2.4.6"),
    ),
    Other(
        "NNCF, scales for each channel of activations, float outputs",
        "nncf.onnx",
        ("nncf==3.4.0", "onnx==1.19.1", "onnxruntime==1.23.2"),
    ),
    Other("ONNX Runtime, `quantize_static`, per channel", "onnxruntime.onnx"),
)
_OPEN = """
import pathlib, sys
from mobilekit.artifacts.litert import LiteRTRuntime
LiteRTRuntime(pathlib.Path(sys.argv[1]))
"""
VERSIONS = ", ".join(each.packages[0] for each in OTHERS if each.packages)


def outputs(
    bundle: Path,
    network: Network,
    recipe: Recipe,
    calibration: Arrays,
    images: Arrays,
    wanted: Mapping[str, Arrays],
) -> Iterator[tuple[str, dict[str, Arrays] | None]]:
    """Yield the words for each quantizer with what its file gives, float32 by name; None where none opens.

    Args:
        bundle: Of the network; files are kept beside it.
        network: In PyTorch, of which the files are made.
        recipe: Has the normalization.
        calibration: Bytes of pictures, (N, C, H, W).
        images: Those to measure on, uint8 (N, H, W, C).
        wanted: What float32 gives for them, (N, C, ...) by name.
    """
    folder = bundle.with_name(f"{bundle.name} by others")
    folder.mkdir(exist_ok=True)
    np.save(folder / "calibration.npy", _normalized(calibration, recipe))
    given = _normalized(images.transpose(0, 3, 1, 2), recipe)
    if not (folder / "float.onnx").exists():
        _write_onnx(network.module(bundle.parent), calibration.shape, folder / "float.onnx")
    for other in OTHERS:
        path = folder / other.file
        if not path.exists():
            try:
                _make(other, folder)
            except subprocess.CalledProcessError:
                yield other.said, None
                continue
        if path.suffix == ".tflite" and not _opens(path):
            yield other.said, None
            continue
        run = _by_litert if path.suffix == ".tflite" else _by_onnxruntime
        yield other.said, _by_name(run(path, given), wanted)


def _by_name(made: Sequence[Arrays], wanted: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """Return outputs as float32 has them; a tool may rename and order them anew, and let channels be last."""
    forms = [form for each in made for form in (each, np.moveaxis(each, -1, 1))]
    return {name: next(form for form in forms if form.shape == one.shape) for name, one in wanted.items()}


def _write_onnx(network: Any, shape: Sequence[int], path: Path) -> None:
    import torch

    torch.onnx.export(network.eval(), (torch.zeros(1, *shape[1:]),), path, dynamo=False, input_names=["input"])


def _make(other: Other, folder: Path) -> None:
    if other.step == "tensorflow":
        _by_onnx2tf(folder)
        return
    python = (
        venvs.make(folder.parent / "environments" / other.step, other.packages) if other.packages else sys.executable
    )
    _run(Path(python), [other.step, str(folder)])


def _by_onnx2tf(folder: Path) -> None:
    """Write tensorflow.tflite, and float.tflite, which litert-quantizer takes."""
    np.save(folder / "nhwc.npy", np.load(folder / "calibration.npy").transpose(0, 2, 3, 1))
    np.save(folder / SAMPLE_FILE, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    words = ["-i", "float.onnx", "-o", "out", "-n", *BY_TENSORFLOW, "-oiqt", "-cind", "input", "nhwc.npy", *UNCHANGED]
    subprocess.run([sys.executable, "-c", PROGRAM, *words], cwd=folder, env=variables(), check=True)
    (folder / "out" / "float_float32.tflite").rename(folder / "float.tflite")
    (folder / "out" / "float_integer_quant.tflite").rename(folder / "tensorflow.tflite")


def _run(python: Path, words: Sequence[str]) -> None:
    command = [str(python), "-W", "ignore", "-m", "benchmarks.int8_accuracy.by_hand", *words]
    subprocess.run(command, env=variables(), check=True)


def _normalized(pictures: Arrays, recipe: Recipe) -> Arrays:
    """Return bytes of pictures, (N, C, H, W), as the network was trained on them."""
    mean, std = (np.array(each, np.float32).reshape(-1, 1, 1) for each in (recipe.input.mean, recipe.input.std))
    normalized: Arrays = (pictures.astype(np.float32) / 255 - mean) / std
    return normalized


def _opens(path: Path) -> bool:
    """Return whether LiteRT opens a file: there are some at which it ends its process."""
    command = [sys.executable, "-c", _OPEN, str(path)]
    return subprocess.run(command, env=variables(), check=False).returncode == 0


def _by_litert(path: Path, given: Arrays) -> list[Arrays]:
    return [*LiteRTRuntime(path).run({"input": given}).values()]


def _by_onnxruntime(path: Path, given: Arrays) -> list[Arrays]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"input": row[None]}) for row in given]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]
