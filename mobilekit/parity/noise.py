"""The error that a number format brings by itself, measured on the model at hand.

A limit that a number of somebody's taste sets passes broken artifacts of robust models and fails sound artifacts of
sensitive ones. Here each format is imitated on the PyTorch model, which the converters never touch, and what it does
to the outputs is the yardstick for the artifact.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.parity.metrics import compare
from mobilekit.runtimes.pytorch import TorchRuntime

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Noise:
    """What the formats do to the outputs of one model on one set of inputs."""

    float32_max_abs: float
    """Largest difference between the model in float32 and in float64."""
    scale: float
    """Largest absolute output."""
    float16_relative_l2: float
    """Change of the outputs when every weight is rounded to float16."""
    int8_relative_l2: float
    """Change when weights (per channel) and the inputs of linear layers (per tensor) are rounded to 8 bits."""


def measure_noise(
    reference: nn.Module, rewritten: nn.Module, inputs: Floats, reference_outputs: Floats, rewritten_outputs: Floats
) -> Noise:
    """Run the model in each format.

    Args:
        reference: The reference model, float32.
        rewritten: The rewritten model, float32; its folded weights are those that the artifacts round.
        inputs: float32 (N, C, H, W).
        reference_outputs: What the reference gives for them in float32.
        rewritten_outputs: What the rewritten model gives.
    """

    def run(model: nn.Module, convert: Callable[[nn.Module], object]) -> Floats:
        changed = copy.deepcopy(model)
        convert(changed)
        return TorchRuntime(changed).run_single(inputs)

    def change(convert: Callable[[nn.Module], object]) -> float:
        return compare(rewritten_outputs, run(rewritten, convert)).relative_l2

    exact = run(reference, lambda model: model.double())
    return Noise(
        float32_max_abs=compare(exact, reference_outputs).max_abs,
        scale=float(np.abs(exact).max()),
        float16_relative_l2=change(round_weights_to_float16),
        int8_relative_l2=change(round_to_int8),
    )


def round_weights_to_float16(model: nn.Module) -> None:
    """Round every parameter to float16 and back, in place; values beyond its range saturate as in TFLite."""
    limit = torch.finfo(torch.float16).max
    for parameter in model.parameters():
        parameter.data = parameter.data.clamp(-limit, limit).half().to(parameter.dtype)


def round_to_int8(model: nn.Module) -> None:
    """Round convolutions and linear layers to 8 bits as TFLite's quantisation specification has it, in place.

    Weights: symmetric, -127..127, a scale for each output channel. Inputs: asymmetric, 256 steps over the tensor's
    range with zero in it. Source: TensorFlow Lite 8-bit quantization specification.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.data
            scale = (weight.abs().flatten(1).amax(1) / 127).clamp_min(torch.finfo(weight.dtype).tiny)
            scale = scale.reshape(-1, *([1] * (weight.dim() - 1)))
            module.weight.data = (weight / scale).round() * scale
            module.register_forward_pre_hook(_round_input)


def _round_input(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    x = inputs[0]
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(x.dtype).tiny)
    return (((x - low) / scale).round() * scale + low, *inputs[1:])
