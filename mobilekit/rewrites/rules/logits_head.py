"""A log-softmax or softmax at the end of a model, left to whoever reads the outputs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of
from mobilekit.rewrites.fx.ops import LOG_SOFTMAX, SOFTMAX, is_call


class LogitsHeadOptions(Options):
    """Parameters of `logits-head`."""

    keep: Literal["all", "argmax"] = Field(
        "all", description="What of the outputs must stay; with `argmax`, their order and the softmax of them does."
    )


class LogitsHead(Rewrite[LogitsHeadOptions]):
    """Approximate, as the outputs are other numbers: logits x in place of x - log(sum(exp(x))), or of softmax(x).

    They have the same order, so the same largest one, and their softmax is that of the outputs before. Runtimes have
    slow or no kernels for a log-softmax, and an int8 one loses the small probabilities. Because nothing in the figures
    of a drift tells this from a fault, the recipe has to ask for it: `options: {keep: argmax}`, with a `max_drift`, and
    `min_top1_agreement: 1` to have the order of the first checked.
    """

    name = "logits-head"
    exactness = Exactness.APPROXIMATE
    summary = "Log-softmax or softmax at the outputs removed; the order of the outputs stays"
    experimental = (
        "In the digits' GhostNetV2 with a log-softmax the order of the outputs and the top-1 stay, by a drift of "
        "0.90; right where the largest output is all that is read."
    )
    options_type = LogitsHeadOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the softmaxes and log-softmaxes whose results the model returns."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if is_call(graph, node, LOG_SOFTMAX, SOFTMAX) and any(user.op == "output" for user in node.users)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where the recipe does not ask for it, and where the model computes on with the probabilities."""
        if self.options.keep != "argmax":
            return "the outputs would be logits: their order stays, their values do not; `keep: argmax` asks for that"
        if len(node_named(graph, site.node).users) > 1:
            return "the model computes on with the probabilities"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Return what the softmax takes."""
        node = node_named(graph, site.node)
        node.replace_all_uses_with(input_node(node))
        graph.graph.erase_node(node)
