"""SiLU as Hard-Swish."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from mobilekit.rewrites.shared.activations import ToHardSwish, silu_input


class HardSwish(ToHardSwish):
    """Approximate: x ReLU6(x + 3) / 6 for x sigmoid(x), whose exponential phones and int8 have no cheap form for.

    Source: MobileNetV3, arXiv 1905.02244, section 5.2.
    """

    name = "hard-swish"
    summary = "SiLU (Swish), also written as x * sigmoid(x), to Hard-Swish"
    experimental = (
        "In the digits' GhostNetV2 with SiLU it drifts by 0.35 and takes 4.2 points of top-1 until training "
        "brings them back; right for a model that is tuned afterwards, or at the sites that `mobilekit rewrites "
        "rank` finds cheap."
    )

    def _source(self, graph: GraphModule, node: Node) -> Node | None:
        return silu_input(graph, node)
