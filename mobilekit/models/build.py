"""A reference model with its weights, ready to be exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.registry import ModelEntry
from mobilekit.models.weights import calibrate_batch_norms, load_weights, packaged_weights

SEED = 0
_SIZES_TRIED = 64
_IMAGES_A_BATCH = 4


@dataclass(frozen=True)
class Reference:
    """A reference model in evaluation mode, float32, and where its weights are from."""

    model: nn.Module
    weights_source: str


def effective_options(entry: ModelEntry, options: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the options to build with: the recipe's, and the input size where the model asks for it."""
    return {**options, **({"input_size": size} if "input_size" in entry.option_names() else {})}


def check_input(entry: ModelEntry, options: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """Try the model on an input of this shape, and return it, with weights that mean nothing.

    Raises:
        UsageError: It cannot take the input; the message names the next larger size that it can take, if any.
    """
    channels = options.get("in_channels", entry.in_channels)
    if channels and shape[1] != channels:
        raise UsageError(
            f"{entry.name} takes {channels} channels, and the recipe's input has {shape[1]}.",
            "In the recipe, `input: {colour: ...}` is rgb, bgr or grey; grey is one channel.",
        )

    def create(size: int) -> nn.Module:
        return entry.create(**effective_options(entry, options, size))

    model = create(shape[-1])
    problem = _problem(model, shape)
    if problem is None:
        return model
    larger = range(shape[-1] + 1, shape[-1] + _SIZES_TRIED)
    works = (size for size in larger if _problem(create(size), (*shape[:2], size, size)) is None)
    next_size = next(works, None)
    hint = f"The next larger size that it takes is {next_size}." if next_size else ""
    shown = "x".join(map(str, shape[1:]))
    raise UsageError(f"{entry.name} cannot take an input of {shown}: {problem}.", hint)


def build_reference(
    entry: ModelEntry, options: dict[str, Any], weights: Path | None, calibration: torch.Tensor
) -> Reference:
    """Build a model and fill it with weights.

    Args:
        entry: Which model.
        options: Override the entry's options.
        weights: A checkpoint; without one, the weights that come with the model, or else seeded random ones whose
            batch norms are set on `calibration`.
        calibration: float32 inputs (N, C, H, W).

    Raises:
        UsageError: The options or the checkpoint do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = entry.create(**options)
    if weights is not None:
        load_weights(model, weights)
        return Reference(model, f"checkpoint {weights.name}")
    if entry.weights is not None:
        load_weights(model, packaged_weights(entry.weights))
        return Reference(model, f"trained weights that come with mobilekit ({entry.weights})")
    # A few at a time: where a map is 1x1, one image alone has no variance.
    batches = calibration.tensor_split(max(1, len(calibration) // _IMAGES_A_BATCH))
    try:
        calibrate_batch_norms(model, batches)
    except ValueError as error:
        raise UsageError(f"{entry.name}: {error}.", "Give more calibration inputs.") from error
    return Reference(model, f"seeded random weights (seed {SEED}), batch norms calibrated; accuracy means nothing")


def save_state(model: nn.Module, path: Path) -> None:
    """Write parameters and buffers as safetensors."""
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def load_state(model: nn.Module, path: Path) -> None:
    """Read back what `save_state` wrote; every name must be there."""
    model.load_state_dict(load_file(path))


def _problem(model: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Return the first line of what the model says against an input of this shape, or None."""
    try:
        with torch.no_grad():
            model(torch.zeros(shape))
    except (RuntimeError, ValueError) as error:
        return str(error).strip().splitlines()[0].rstrip(".")
    return None
