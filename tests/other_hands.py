"""Artifacts run by the runtimes themselves, with nothing of mobilekit between."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from mobilekit.models.build import effective_options
from mobilekit.models.registry import find_model

Floats = NDArray[np.float32]


def run_litert(path: Path, image: Floats) -> Floats:
    """Run a float TFLite file of one input and one output on an NCHW image."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1).copy())
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def run_onnx(path: Path, image: Floats) -> Floats:
    """Run an ONNX file of one input and one output."""
    import onnxruntime

    (given,) = onnxruntime.InferenceSession(path).run(None, {"input": image})
    return np.asarray(given)


def largest_difference(model: str, bundle: Path, file: str) -> tuple[float, float]:
    """Return how far a file's output is from that of the model with the bundle's weights, and the largest output.

    The input is noise.
    """
    manifest = json.loads((bundle / "manifest.json").read_text())
    content = manifest["recipe"]["content"]
    size, channels = content["input"]["size"], len(content["input"]["mean"])
    image = np.random.default_rng(7).standard_normal((1, channels, size, size), dtype=np.float32)
    entry = find_model(model)
    reference = entry.create(**effective_options(entry, content["model_options"], size))
    reference.load_state_dict(load_file(bundle / "stages" / "reference.safetensors"))
    with torch.no_grad():
        expected = reference(torch.from_numpy(image)).numpy()
    given = (run_onnx if file.endswith(".onnx") else run_litert)(bundle / file, image)
    return float(np.abs(given - expected).max()), float(np.abs(expected).max())
