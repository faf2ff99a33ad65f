"""The network that every peer converts: a reference model with the bundle's weights, as its authors publish it.

Runs in each peer's environment; it needs torch and safetensors and no more. DFC attention's maps, which the reference
model writes as matrices, are the convolutions of GhostNetV2's official code here.
"""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import nn

from mobilekit.models.dfc import SharedFullyConnected
from mobilekit.models.registry import find_model


def load(model: str, weights: str) -> nn.Module:
    """Return the network in evaluation mode, float32.

    Args:
        model: Name of a reference model.
        weights: A bundle's `stages/reference.safetensors`.
    """
    torch.set_num_threads(1)
    network = find_model(model).create()
    network.load_state_dict(load_file(weights))
    for path, module in list(network.named_modules()):
        if isinstance(module, SharedFullyConnected):
            network.set_submodule(path, _convolution(module.weight))
    return network.eval()


def _convolution(taps: nn.Parameter) -> nn.Conv2d:
    """Return the depthwise convolution with these kernels, (C, 1, 1, K) or (C, 1, K, 1)."""
    channels, _, height, width = taps.shape
    kernel, padding = (height, width), (height // 2, width // 2)
    convolution = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels, bias=False)
    convolution.weight = taps
    return convolution
