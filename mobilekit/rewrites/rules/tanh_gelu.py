"""GELU in its tanh form."""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import input_node
from mobilekit.rewrites.fx.ops import GELU, arguments, is_call, replace_call
from mobilekit.rewrites.shared.activations import ActivationSwap

aten = torch.ops.aten


class TanhGelu(ActivationSwap):
    """Approximate: GELU's tanh form, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), for its erf form.

    Source: Gaussian Error Linear Units, arXiv 1606.08415, section 2.
    """

    name = "tanh-gelu"
    summary = "GELU from its erf form to its tanh form"
    experimental = (
        "In the digits' GhostNetV2 with GELU it drifts by less than 0.001 and keeps the top-1; right where a file "
        "has opset 18, in which the erf form is many ops: from 20 on either form is one."
    )

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        is_exact = is_call(graph, node, GELU) and arguments(graph, node)["approximate"] == "none"
        return input_node(node) if is_exact else None

    def _replace(self, node: Node, source: Node) -> Node:
        return replace_call(node, aten.gelu.default, source, approximate="tanh")
