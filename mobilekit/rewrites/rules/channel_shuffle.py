"""The channel shuffle in a form for phones."""

from __future__ import annotations

from pydantic import Field
from torch.fx import GraphModule

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import module_of, node_named, path_of
from mobilekit.rewrites.fx.ops import replace_by_module
from mobilekit.rewrites.shared.shuffles import ChannelShuffle, Form, shuffle_at


class ChannelShuffleOptions(Options):
    """Parameters of `channel-shuffle`."""

    form: Form = Field(
        "transpose", description="One transposition of rank 4, or one gather (XNNPACK has no kernel for a gather)."
    )


class ChannelShuffleForm(Rewrite[ChannelShuffleOptions]):
    """Exact: the same permutation of the channels, in rank 4.

    A converter that keeps TFLite's order of axes makes three transpositions of a view of five axes, which several
    delegates do not take. Of (N, H W, groups, C / groups) it is one, of four axes, in TFLite's own order.
    """

    name = "channel-shuffle"
    exactness = Exactness.EXACT
    summary = "Channel shuffle as one transposition of rank 4, or as a gather"
    options_type = ChannelShuffleOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the shuffles that are not in this form."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if shuffle_at(graph, node) and getattr(module_of(graph, node), "form", None) != self.options.form
        ]

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Put one module there."""
        node = node_named(graph, site.node)
        shuffle = shuffle_at(graph, node)
        assert shuffle is not None
        replace_by_module(graph, node, ChannelShuffle(shuffle.groups, self.options.form), shuffle.source)
