"""Sigmoid gates as hard-sigmoid."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import input_node
from mobilekit.rewrites.fx.ops import SIGMOID, is_call, replace_call
from mobilekit.rewrites.shared.activations import ActivationSwap, silu_input

aten = torch.ops.aten


class HardSigmoid(ActivationSwap):
    """Approximate: ReLU6(x + 3) / 6 for sigmoid(x). A SiLU's sigmoid is left to `hard-swish`.

    Source: MobileNetV3, arXiv 1905.02244, section 5.2.
    """

    name = "hard-sigmoid"
    summary = "Sigmoid gates to hard-sigmoid"
    experimental = (
        "In the digits' GhostNetV2 it drifts by 0.12 and takes 0.2 points of top-1, which training brings back; "
        "right where sigmoids are slow, and `relu6-gate` then leaves one ReLU6 of each gate."
    )

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        if not is_call(graph, node, SIGMOID) or any(silu_input(graph, user) for user in node.users):
            return None
        return input_node(node)

    def _replace(self, node: Node, source: Node) -> Node:
        return replace_call(node, aten.hardsigmoid.default, source)
