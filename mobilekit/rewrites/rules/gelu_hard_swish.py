"""GELU as Hard-Swish."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.graph import input_node
from mobilekit.rewrites.fx.ops import GELU, is_call
from mobilekit.rewrites.shared.activations import ToHardSwish


class GeluHardSwish(ToHardSwish):
    """Approximate: Hard-Swish for GELU, which a file of opset 18 has as many ops."""

    name = "gelu-hard-swish"
    summary = "GELU to Hard-Swish"
    experimental = (
        "In the digits' GhostNetV2 with GELU it drifts by 0.77 and takes 17 points of top-1 until training brings "
        "them back; right for a model that is tuned afterwards, on a device without a kernel for GELU."
    )

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        return input_node(node) if is_call(graph, node, GELU) else None
