"""What every way is given and judged by."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.coverage.hub import HUB
from benchmarks.coverage.networks import input_of, network
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.inputs.builtin import CALIBRATION_PHOTOS, EVALUATION_PHOTOS, varied_views
from mobilekit.recipes.inputs.preprocess import stack

RANDOM, PHOTOS, CALIBRATION = 2, 8, 32
WEIGHTS = "weights.txt"
"""The digest of the network that made the outputs."""
_ALIVE = 1e-3
_ROUNDING = 5e-5


def write_inputs(model: str, folder: Path) -> None:
    """Write inputs with PyTorch's own outputs, pictures to calibrate on, and the folder that `hf:` takes.

    The pictures are the package's.

    Raises:
        SystemExit: Its outputs say nothing.
    """
    reference = network(model)
    spec = input_of(model)
    random = torch.randn(RANDOM, *spec.shape[1:], generator=torch.Generator().manual_seed(1)).numpy()
    for name, inputs in (("random", random), ("photos", stack(varied_views(EVALUATION_PHOTOS, PHOTOS), spec))):
        outputs = _outputs(reference, inputs)
        _check(outputs, model)
        _check_rounding(reference, inputs, outputs, model)
        np.savez(folder / f"{name}.npz", inputs=inputs, **{f"o{i}": each for i, each in enumerate(outputs)})
    (folder / WEIGHTS).write_text(weights_digest(reference))
    np.save(folder / "calibration.npy", stack(varied_views(CALIBRATION_PHOTOS, CALIBRATION), spec))
    if model in HUB:
        reference.save_pretrained(folder / "hub")  # type: ignore[operator]


def check_inputs(model: str, folder: Path) -> None:
    """See that the outputs are those of the network that is exported now.

    Its batch norms are those of the package's photos: where these are scaled or cut another way, it is another one.

    Raises:
        SystemExit: It is another one.
    """
    made_with = (folder / WEIGHTS).read_text() if (folder / WEIGHTS).exists() else ""
    if model not in HUB and made_with != weights_digest(network(model)):
        raise SystemExit(f"{model} has other weights now than its outputs were made with.")


def _check_rounding(reference: nn.Module, inputs: Any, outputs: list[Any], model: str) -> None:
    """See that PyTorch's own float32 is nearer to its float64 than files have to be; of those that run in float64."""
    try:
        exact = _outputs(copy.deepcopy(reference).double(), inputs.astype(np.float64))
    except RuntimeError:
        return
    errors = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(outputs, exact, strict=True)]
    if max(errors) > _ROUNDING:
        raise SystemExit(f"{model} with these weights magnifies rounding: its own float32 is off by {max(errors):.1e}")


def _outputs(model: nn.Module, inputs: Any) -> list[Any]:
    """Return all tensors that a model gives, each (N, ...), one input after the other."""
    with torch.no_grad():
        rows = [list(_tensors(model(torch.from_numpy(inputs[i : i + 1])))) for i in range(len(inputs))]
    return [np.concatenate([tensor.numpy() for tensor in column]) for column in zip(*rows, strict=True)]


def _tensors(made: Any) -> Iterator[torch.Tensor]:
    if isinstance(made, torch.Tensor):
        yield made
    elif isinstance(made, dict | tuple | list):
        for each in made.values() if isinstance(made, dict) else made:
            yield from _tensors(each)


def _check(outputs: list[Any], model: str) -> None:
    """See that a comparison says something: outputs are finite, and others for other inputs."""
    for output in outputs:
        if not np.isfinite(output).all() or np.abs(output[0] - output[1]).max() < _ALIVE * np.abs(output).max():
            raise SystemExit(f"{model} with these weights gives the same for all inputs, or nothing finite")
