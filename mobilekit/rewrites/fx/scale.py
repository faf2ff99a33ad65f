"""Where a positive factor can go: through what is homogeneous, into the weights of linear layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of
from mobilekit.rewrites.fx.ops import (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    DIVIDE,
    DROPOUT,
    EXPAND,
    FLATTEN,
    INTERPOLATE,
    MAX_POOL,
    MEAN,
    MULTIPLY,
    PART,
    PERMUTE,
    RELU,
    RESHAPE,
    SLICE,
    SPLIT,
    SQUEEZE,
    SUM,
    TRANSPOSE,
    UNFLATTEN,
    UNSQUEEZE,
    is_call,
    operands,
    value_users,
)

Linear = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.Linear
LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)

# f(c x) = c f(x) for every c > 0.
_HOMOGENEOUS = (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    DROPOUT,
    EXPAND,
    FLATTEN,
    INTERPOLATE,
    MAX_POOL,
    MEAN,
    PART,
    PERMUTE,
    RELU,
    RESHAPE,
    SLICE,
    SPLIT,
    SQUEEZE,
    SUM,
    TRANSPOSE,
    UNFLATTEN,
    UNSQUEEZE,
)


def absorbers(graph: GraphModule, start: Node) -> list[str] | None:
    """Return the paths of the linear layers whose weights can take over a factor that `start` has now.

    Everything between must be homogeneous and lead to linear layers only, each called once; None where that is not so.
    """
    scaled, layers = [start], []
    for node in scaled:  # grows
        for user in value_users(graph, node):
            if isinstance(module_of(graph, user), LINEAR):
                if calls_of(graph, str(user.target)) > 1:
                    return None
                layers.append(str(user.target))
            elif user not in scaled and _carries(graph, user, node):
                scaled.append(user)
            else:
                return None
    return layers or None


def _carries(graph: GraphModule, user: Node, node: Node) -> bool:
    """Return whether a factor of `node` is one of `user`."""
    product, quotient = operands(graph, user, MULTIPLY), operands(graph, user, DIVIDE)
    if product is not None:
        return sum(each is node for each in product) == 1
    if quotient is not None:
        return quotient[0] is node and quotient[1] is not node
    return is_call(graph, user, *_HOMOGENEOUS) and input_node(user) is node


def scale_weights(graph: GraphModule, paths: Sequence[str], factor: float) -> None:
    """Multiply the weights of layers, and not their biases; parameters shared with other layers stay as they are."""
    for path in paths:
        layer = graph.get_submodule(path)
        assert isinstance(layer, LINEAR)
        layer.weight = nn.Parameter(layer.weight.detach() * factor)


def shift_bias(layer: Linear, value: float) -> None:
    """Add to a layer's bias."""
    count = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    bias = layer.weight.new_zeros(count) if layer.bias is None else layer.bias.detach()
    layer.bias = nn.Parameter(bias + value)
