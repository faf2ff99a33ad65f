"""The network that is trained: the reference with what it has to bear, and with the reference's own parameters.

Only the rewrites that are not exact are applied to it, so what is trained has the names that the reference's weights
have; an export applies the exact ones behind, which change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm

from mobilekit.errors import UsageError
from mobilekit.models.dfc import DenseFullyConnected, SharedFullyConnected
from mobilekit.models.inputs import Tensors
from mobilekit.parity.ledger.float_nodes import DENSE, is_dense, is_relu, nodes_inside
from mobilekit.parity.ledger.format_error import FakeQuantInt8, Ranges
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.fx.graph import module_of

_WEIGHT_STEPS = 127
_STEPS = 255


def inexact(loaded: LoadedRecipe) -> LoadedRecipe:
    """Return the recipe with only those of its rewrites that are another function."""
    steps = tuple(step.spec for step in steps_of(loaded) if not step.rewrite.exactness.is_proved)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": steps}), lines={})


class Int8Student(nn.Module):
    """A graph that rounds values and weights as an int8 file does, by torch's fake quantizers, which pass gradients on.

    A batch norm is still a layer of its own. It scales a channel's weights and their step alike, so the weights round
    as those it is folded into; what lies before it is no value of the file.

    Args:
        graph: float32; its parameters are trained.
        int8: What the recipe says of int8.
        ranges: Of the values, by the names of the steps.
    """

    def __init__(self, graph: GraphModule, int8: Int8, ranges: Ranges) -> None:
        super().__init__()
        self.meta = graph.meta
        self.rounded = FakeQuantInt8(graph, int8.keep_float, ranges, int8.float_modules, _fake_quantize)
        self.rounded.unrounded |= _before_batch_norms(graph)
        kept = {str(node.target) for node in nodes_inside(graph, int8.float_modules)}
        self.axes = {
            f"graph.{path}.weight": int(isinstance(module, nn.ConvTranspose2d))
            for path, module in graph.named_modules()
            if isinstance(module, DENSE) and path not in kept and not _is_grouped_transpose(module)
        }

    def forward(self, picture: torch.Tensor, /, **further: torch.Tensor) -> Any:
        """Run the graph."""
        weights = {
            name: _fake_quantize_weights(self.rounded.get_parameter(name), axis) for name, axis in self.axes.items()
        }
        return functional_call(self.rounded, weights, (picture,), further)


def _is_grouped_transpose(module: nn.Module) -> bool:
    return isinstance(module, nn.ConvTranspose2d) and module.groups > 1  # its channels lie along two axes


def _before_batch_norms(graph: GraphModule) -> set[Node]:
    """Return the layers that a batch norm alone reads, and the batch norms that a ReLU alone reads."""
    norms = [node for node in graph.graph.nodes if isinstance(module_of(graph, node), _BatchNorm)]
    layers = {norm.all_input_nodes[0] for norm in norms}
    found = {layer for layer in layers if is_dense(graph, layer) and len(layer.users) == 1}
    return found | {norm for norm in norms if len(norm.users) == 1 and is_relu(graph, next(iter(norm.users)))}


def _fake_quantize(x: torch.Tensor, low: float | None = None, high: float | None = None) -> torch.Tensor:
    low = min(float(x.detach().amin()) if low is None else low, 0.0)
    high = max(float(x.detach().amax()) if high is None else high, 0.0)
    scale = max((high - low) / _STEPS, torch.finfo(x.dtype).tiny)
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, _STEPS)


def _fake_quantize_weights(weight: torch.Tensor, axis: int) -> torch.Tensor:
    axes = tuple(place for place in range(weight.dim()) if place != axis)
    scale = (weight.detach().abs().amax(axes) / _WEIGHT_STEPS).clamp_min(torch.finfo(weight.dtype).tiny)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, axis, -_WEIGHT_STEPS, _WEIGHT_STEPS)


def state_for(model: nn.Module, graph: GraphModule, rewrites: Mapping[str, int]) -> Tensors:
    """Return trained parameters as a state of the reference, from which its rewrites make them again.

    The convolution that `dfc-dense` puts in a dense map's place is the map with the same taps along each diagonal.

    Args:
        model: The reference.
        graph: What was trained.
        rewrites: Names of what was applied to it.

    Raises:
        UsageError: A rewrite has put parameters of its own there.
    """
    trained, own = graph.state_dict(), model.state_dict()
    memory = {tensor.data_ptr(): name for name, tensor in own.items() if name in trained}
    for path, module in model.named_modules():
        if isinstance(module, DenseFullyConnected) and f"{path}.weight" in trained:
            taps = trained[f"{path}.weight"]
            if taps.shape != module.weight.shape:
                trained[f"{path}.weight"] = _as_dense(module, taps)
    state = {}
    for name, tensor in own.items():
        found = trained.get(name, trained.get(memory.get(tensor.data_ptr(), "")))  # one tensor may have two names
        is_lost = name not in graph.meta.get("unused", {}) if found is None else found.shape != tensor.shape
        if is_lost:
            raise UsageError(
                f"The weights that {', '.join(rewrites) or 'the graph'} puts in the place of {name} are none of the "
                "model's own, so they cannot be written for it.",
                "Leave that rewrite out, or train what `mobilekit.rewrite` gives.",
            )
        state[name] = (tensor if found is None else found).detach().cpu().to(tensor.dtype).clone()
    return state


def _as_dense(module: DenseFullyConnected, taps: torch.Tensor) -> torch.Tensor:
    shared = SharedFullyConnected(len(taps), max(taps.shape[2:]), module.axis)
    shared.weight = nn.Parameter(taps.detach().cpu())
    return shared.matrix(module.weight.shape[-1]).detach()
