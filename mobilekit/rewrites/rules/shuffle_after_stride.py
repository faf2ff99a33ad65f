"""The channel shuffle on the smaller map behind a strided depthwise convolution."""

from __future__ import annotations

from types import MappingProxyType

from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, module_of, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import RELU, add_module, is_call, relu6_input, value_users
from mobilekit.rewrites.shared.convolutions import is_depthwise, permute_kernels
from mobilekit.rewrites.shared.shuffles import ChannelShuffle, shuffle_at


class ShuffleAfterStride(Rewrite[Options]):
    """Exact: a depthwise convolution treats each channel by itself, so that its kernels change places instead.

    Behind a stride of 2 a quarter of the values is left to be moved.
    """

    name = "shuffle-after-stride"
    exactness = Exactness.EXACT_WHEN
    summary = "Channel shuffle behind the strided depthwise convolution that reads it"
    wrong_on = MappingProxyType(
        {"rknn": "Rockchip's compiler makes another function of a shuffle right behind a convolution with groups"}
    )

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the shuffles that a strided depthwise convolution reads."""
        return [
            Site(node.name, path_of(node))
            for node in graph.graph.nodes
            if shuffle_at(graph, node) and any(_is_strided(graph, user) for user in node.users)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where something else needs the shuffled map, or an activation belongs to the convolution."""
        node = node_named(graph, site.node)
        users = value_users(graph, node)
        if len(users) != 1:
            return "others take the shuffled map too"
        if calls_of(graph, str(users[0].target)) > 1:
            return f"{users[0].target} is called more than once"
        if any(isinstance(module_of(graph, user), nn.BatchNorm2d) for user in users[0].users):
            return "the batch norm behind the convolution is to be folded first"
        if any(is_call(graph, user, RELU) or relu6_input(graph, user) is not None for user in users[0].users):
            return "the activation behind the convolution is part of it in TFLite, and would not be any more"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Permute the kernels, and put the shuffle behind the convolution."""
        node = node_named(graph, site.node)
        shuffle, shape = shuffle_at(graph, node), shape_of(node)
        assert shuffle is not None
        assert shape is not None
        [conv] = value_users(graph, node)
        permute_kernels(graph, conv, shuffle.order(shape[1]).argsort())
        moved = add_module(graph, node, ChannelShuffle(shuffle.groups, "transpose"), conv)
        conv.append(moved)
        conv.replace_all_uses_with(moved, delete_user_cb=lambda user: user is not moved)
        node.replace_all_uses_with(shuffle.source)
        moved.meta["tensor_meta"] = conv.meta.get("tensor_meta")
        graph.graph.eliminate_dead_code()


def _is_strided(graph: GraphModule, node: Node) -> bool:
    conv = module_of(graph, node)
    return isinstance(conv, nn.Conv2d) and is_depthwise(conv) and any(step != 1 for step in conv.stride)
