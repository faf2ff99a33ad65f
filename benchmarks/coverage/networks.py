"""All architectures that are measured, with drawn weights; a factory of this file for each, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.coverage import hub
from benchmarks.coverage.families import TIMM
from benchmarks.coverage.own_nets import OWN
from mobilekit.recipes.inputs.builtin import CALIBRATION_PHOTOS, varied_views
from mobilekit.recipes.inputs.preprocess import stack
from mobilekit.recipes.picture import Input

TIMM_GROUP, HUB_GROUP, OWN_GROUP = "timm", "transformers", "maps, boxes and finer images"
_NAMES = {TIMM_GROUP: tuple(TIMM), HUB_GROUP: tuple(hub.HUB), OWN_GROUP: tuple(OWN)}
GROUPS = {name: group for group, names in _NAMES.items() for name in names}
"""The group of each architecture."""
MODELS = tuple(GROUPS)
_CONSTANT = 1e-6
_IMAGES = 8
_SATURATED = ("levit_128s", "halonet_h1")
"""What PyTorch itself computes of noise in float32 is then another thing than in float64."""


def size_of(name: str) -> int:
    """Return the side of the input in pixels."""
    return TIMM[name][0] if name in TIMM else hub.HUB[name][1] if name in hub.HUB else OWN[name][0]


def spec_of(name: str) -> str:
    """Return what `mobilekit export` is told of an architecture that is no folder."""
    return f"{__file__}:{name}"


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """Return the factory of an architecture."""
    if name in GROUPS:
        return lambda: network(name)
    raise AttributeError(name)


def network(name: str) -> nn.Module:
    """Return an architecture with drawn weights, in evaluation mode, the same whenever it is called."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = _built(name).eval()
    draw(model, input_of(name), name in _SATURATED)
    return model


def input_of(name: str) -> Input:
    """Return how pictures become the input: as the default recipe has it, which knows nothing of the network."""
    return Input(size=size_of(name))


def _built(name: str) -> nn.Module:
    model: nn.Module
    if name in TIMM:
        from mobilekit.models.timm_models import import_timm

        model = import_timm().create_model(name, **TIMM[name][1])
    elif name in hub.HUB:
        model = hub.build(name)
    else:
        model = OWN[name][1]()
    return model


def draw(model: nn.Module, spec: Input, is_saturated: bool = False) -> None:
    """Draw all weights anew so that no branch is zero or an identity, and every value is of the order of 1.

    Makers begin last batch norms at 0, layer scales at 1e-5 and positions at 0 or .02: what such a branch computes is
    seen by no comparison. Matrices and kernels are drawn with a variance of 1 / fan-in; vectors that are constant are
    drawn around their constant, those near zero between .2 and .6 (biases: deviation .05); tokens and positions have a
    deviation of .3. Statistics of batch norms are those of the package's photos, but for a tenth of a deviation and up
    to a quarter of the variance.

    Args:
        model: In evaluation mode.
        spec: How pictures become its input.
        is_saturated: Let noise be among the images, as what is large in noise and small in photos would saturate it.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _draw_parameter(name, parameter, generator)
        hooks = [
            norm.register_forward_pre_hook(lambda norm, inputs: _settle(norm, inputs[0], generator))
            for norm in model.modules()
            if isinstance(norm, _BatchNorm)
        ]
        if hooks:
            images = torch.from_numpy(stack(varied_views(CALIBRATION_PHOTOS, _IMAGES), spec))
            model(torch.cat([images, torch.randn(images.shape, generator=generator)]) if is_saturated else images)
        for hook in hooks:
            hook.remove()


def _draw_parameter(name: str, parameter: torch.Tensor, generator: torch.Generator) -> None:
    def normal(deviation: float) -> torch.Tensor:
        return deviation * torch.randn(parameter.shape, generator=generator)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(parameter.shape, generator=generator)

    if not parameter.is_floating_point():
        return
    is_vector = sum(side > 1 for side in parameter.shape) <= 1
    first = float(parameter.flatten()[0])
    if not is_vector:
        is_place = parameter.shape[0] == 1 or any(word in name for word in ("pos", "token"))
        parameter.copy_(normal(0.3 if is_place else parameter[0].numel() ** -0.5))
    elif bool((parameter - first).abs().max() > _CONSTANT):
        return
    elif abs(first) > 1e-3:
        parameter.copy_(first * uniform(0.7, 1.3))
    else:
        parameter.copy_(normal(0.05) if name.endswith("bias") else uniform(0.2, 0.6))


def _settle(norm: Any, inputs: torch.Tensor, generator: torch.Generator) -> None:
    """Give a batch norm nearly the statistics of what comes into it; no variance is nearly zero."""
    if norm.running_mean is None:
        return
    dims = [axis for axis in range(inputs.ndim) if axis != 1]
    variance, mean = torch.var_mean(inputs, dims, correction=0)
    variance = variance.clamp(min=0.1 * float(variance.mean()) + 1e-6)
    if inputs.ndim == 2:  # pooled: a few images are so much alike that their deviation would magnify all errors
        variance = torch.maximum(variance, 0.01 * mean**2)
    norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn(mean.shape, generator=generator))
    norm.running_var.copy_(variance * (0.75 + 0.5 * torch.rand(mean.shape, generator=generator)))
