"""Hard-sigmoid as a ReLU6, with its shift in the layer before and its 1/6 in the layers after."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, path_of
from mobilekit.rewrites.fx.ops import HARD_SIGMOID, MULTIPLY, insert_call, is_call, operands, replace_call, value_users
from mobilekit.rewrites.fx.scale import LINEAR, Linear, absorbers, scale_weights, shift_bias


class ReLU6Gate(Rewrite[Options]):
    """Exact: hardsigmoid(x) = ReLU6(x + 3) / 6.

    A 3 added to the output of a convolution is a 3 added to its bias, and a ReLU6 after it costs nothing in TFLite. A
    factor of 1/6 passes through whatever is homogeneous to the weights of the convolutions that take the product; where
    something else takes it, a multiplication stays. XNNPACK has ReLU6 and lacks the RELU_0_TO_1 that TFLite otherwise
    makes of a hard-sigmoid.
    """

    name = "relu6-gate"
    exactness = Exactness.EXACT_WHEN
    summary = "Hard-sigmoid gates to ReLU6, with shift and factor in the weights around where these can take them"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the hard-sigmoids."""
        return [
            Site(node.name, path_of(node), _detail(graph, node))
            for node in graph.graph.nodes
            if is_call(graph, node, HARD_SIGMOID)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse one that is half of a Hard-Swish."""
        node = node_named(graph, site.node)
        source = input_node(node)
        for user in node.users:
            if any(each is source for each in operands(graph, user, MULTIPLY) or ()):
                return "with its product it is a Hard-Swish; fuse-hard-swish makes one of it"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Shift, clip, and scale."""
        node = node_named(graph, site.node)
        source = input_node(node)
        layer = _shiftable(graph, source)
        if layer is not None:
            shift_bias(layer, 3.0)
        else:
            source = insert_call(node, torch.ops.aten.add.Tensor, source, 3.0)
            source.meta = dict(node.meta)
        gate = replace_call(node, torch.ops.aten.clamp.default, source, 0, 6)
        layers = absorbers(graph, gate)
        if layers is None:
            _scale_after(graph, gate)
        else:
            scale_weights(graph, layers, 1 / 6)


def _detail(graph: GraphModule, node: Node) -> str:
    layers = absorbers(graph, node)
    shift = "the shift goes into the bias before" if _shiftable(graph, input_node(node)) else "the shift stays"
    scale = f"1/6 goes into {', '.join(layers)}" if layers else "1/6 stays"
    return f"{shift}, {scale}"


def _shiftable(graph: GraphModule, source: Node) -> Linear | None:
    """Return the layer whose bias can take the shift: it makes the gate's input, and nothing else takes that."""
    layer = module_of(graph, source)
    if not isinstance(layer, LINEAR) or len(value_users(graph, source)) > 1 or calls_of(graph, str(source.target)) > 1:
        return None
    return layer


def _scale_after(graph: GraphModule, gate: Node) -> None:
    with graph.graph.inserting_after(gate):
        scaled = graph.graph.call_function(torch.ops.aten.mul.Tensor, (gate, 1 / 6))
    scaled.meta = dict(gate.meta)
    gate.replace_all_uses_with(scaled, lambda user: user is not scaled)
