"""A model that computes in float16, as GPUs do: every value is rounded to it, and every sum on its way.

LiteRT's GPU kernels take four products at a time into a float16 sum (`vec4` of ML Drift's shaders, precision F16). On
photos an NVIDIA H200 (LiteRT 2.3.0 over Vulkan, 2026-11-29) was at most 7.8e-3 off with GhostNetV2 where rounding of
the values alone gives 3.1e-3: the sums are half of it. docs/targets.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn import functional

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.models.depthwise import places_of_kernel, size_of_result
from mobilekit.parity.ledger.format_error import EachStep, in_float16
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import FormatError
from mobilekit.store.stages import InputSet

PRODUCTS_AT_ONCE = 4
"""Channels whose products are added before a sum is rounded."""


def float16_losses(rewritten: GraphModule, inputs: Arrays, outputs: Arrays) -> dict[str, float]:
    """Return the relative L2 that float16 arithmetic brings, by output; of labels, the share that changes.

    Args:
        rewritten: The rewritten model, float32; left as it is.
        inputs: float32 (N, ...) by name.
        outputs: What it gives for them in float32.
    """
    made = TorchRuntime(InFloat16(in_float16(rewritten))).run(inputs)
    return {name: compare(outputs[name], made[name]).relative_l2 for name in outputs}


def with_arithmetic(
    errors: Mapping[InputSet, Mapping[str, FormatError]],
    rewritten: GraphModule,
    outputs: Mapping[InputSet, Arrays],
    real: Arrays,
    random: Arrays,
) -> dict[InputSet, dict[str, FormatError]]:
    """Return errors of formats with that of float16 arithmetic, measured on both sets of inputs."""
    inputs = {InputSet.REAL: real, InputSet.RANDOM: random}
    losses = {kind: float16_losses(rewritten, inputs[kind], outputs[kind]) for kind in errors}
    return {
        kind: {
            name: replace(error, float16_arithmetic_relative_l2=losses[kind][name]) for name, error in by_output.items()
        }
        for kind, by_output in errors.items()
    }


class InFloat16(EachStep):
    """A graph that rounds every tensor it makes to float16, and the sums of convolutions and products in steps.

    Args:
        graph: Its weights are rounded already; its layers are replaced in place.
    """

    def __init__(self, graph: GraphModule) -> None:
        for path, module in list(graph.named_modules()):
            if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
                graph.set_submodule(path, _Convolution(module))
            elif isinstance(module, nn.Linear):
                graph.set_submodule(path, _Product(module))
        super().__init__(graph)

    def output_hook(self, node: Node, value: torch.Tensor) -> torch.Tensor:
        """Round the tensor."""
        return _halved(value)


class _Convolution(nn.Module):
    """A convolution that takes one place of the kernel and four channels at a time into a float16 sum."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution of x (N, C, H, W)."""
        layer = self.layer
        padding = layer._reversed_padding_repeated_twice
        x = functional.pad(x, padding) if any(padding) else x
        groups, per_group = layer.groups, layer.in_channels // layer.groups
        by_group = x.reshape(len(x), groups, per_group, *x.shape[2:])
        kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
        total = torch.zeros(len(x), layer.out_channels, *size_of_result(x.shape[2:], kernel, stride, dilation))
        for first in range(0, per_group, PRODUCTS_AT_ONCE):
            some = slice(first, first + PRODUCTS_AT_ONCE)
            part = by_group[:, :, some].flatten(1, 2)
            for i, j, seen in places_of_kernel(part, kernel, stride, dilation):
                weight = layer.weight[:, some, i : i + 1, j : j + 1]
                total = _halved(total + functional.conv2d(seen, weight, groups=groups))
        return total if layer.bias is None else total + layer.bias[:, None, None]


class _Product(nn.Module):
    """A linear layer that takes four inputs at a time into a float16 sum."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product with x (..., K)."""
        total = torch.zeros(*x.shape[:-1], self.layer.out_features)
        for first in range(0, self.layer.in_features, PRODUCTS_AT_ONCE):
            some = slice(first, first + PRODUCTS_AT_ONCE)
            total = _halved(total + functional.linear(x[..., some], self.layer.weight[:, some]))
        return total if self.layer.bias is None else total + self.layer.bias


def _halved(x: torch.Tensor) -> torch.Tensor:
    return x.half().float()
