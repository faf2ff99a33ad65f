"""The padding of a convolution as a step of its own, where TFLite would pad other sides."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, path_of, shape_of
from mobilekit.rewrites.fx.ops import insert_call
from mobilekit.rewrites.shared.convolutions import with_weights


class ExplicitPadding(Rewrite[Options]):
    """Exact: a convolution pads with zeros, and zeros may be padded before it.

    TFLite's convolutions know SAME, whose zeros are as many as the last window needs, the odd one after; PyTorch's have
    the same number on both sides. Where these differ, the graph then says what the file will hold.
    """

    name = "explicit-padding"
    exactness = Exactness.EXACT_WHEN
    summary = "Padding of convolutions as a step before them where TFLite's SAME pads other sides"
    experimental = (
        "Changes no number and was not timed: the converter pads so without it; right where the graph is to say "
        "what the TFLite file will hold."
    )

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the convolutions that pad."""
        return [
            Site(node.name, path_of(node), _detail(graph, node))
            for node in graph.graph.nodes
            if isinstance(conv := module_of(graph, node), nn.Conv2d) and any(both_sides(conv))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where SAME pads alike, other paddings than zeros, and a layer that is called more than once."""
        node = node_named(graph, site.node)
        conv = module_of(graph, node)
        assert isinstance(conv, nn.Conv2d)
        if conv.padding_mode != "zeros":
            return f"it pads with {conv.padding_mode}, not with zeros"
        if calls_of(graph, str(node.target)) > 1:
            return f"{node.target} is called more than once"
        if _same(graph, node, conv) == both_sides(conv):
            return "SAME pads as it does"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Pad first."""
        node = node_named(graph, site.node)
        conv = module_of(graph, node)
        assert isinstance(conv, nn.Conv2d)
        top, bottom, left, right = both_sides(conv)
        bare = with_weights(conv, conv.weight.detach(), conv.groups)
        bare.padding = (0, 0)
        graph.set_submodule(str(node.target), bare)
        source = input_node(node)
        padded = insert_call(node, torch.ops.aten.pad.default, source, [left, right, top, bottom])
        node.replace_input_with(source, padded)


Sides = tuple[int, int, int, int]
"""Zeros above, below, left and right."""


def both_sides(conv: nn.Conv2d) -> Sides:
    """Return the zeros that PyTorch pads."""
    if isinstance(conv.padding, str):
        spans = [_span(conv, axis) - 1 if conv.padding == "same" else 0 for axis in (0, 1)]
        (top, bottom), (left, right) = ((span // 2, span - span // 2) for span in spans)
        return top, bottom, left, right
    rows, columns = conv.padding
    return rows, rows, columns, columns


def _same(graph: GraphModule, node: Node, conv: nn.Conv2d) -> Sides:
    """Return the zeros of TFLite's SAME, for the recipe's input.

    Source: tensorflow/lite/kernels/padding.h, ComputePaddingWithOffset: the output has ceil(size / stride) values, and
    the zeros that its last window needs are halved, the larger half after.
    """
    shape = shape_of(input_node(node))
    assert shape is not None
    sides = []
    for axis, size in enumerate(shape[2:]):
        steps = -(-size // conv.stride[axis]) - 1
        needed = max(0, steps * conv.stride[axis] + _span(conv, axis) - size)
        sides += [needed // 2, needed - needed // 2]
    return sides[0], sides[1], sides[2], sides[3]


def _span(conv: nn.Conv2d, axis: int) -> int:
    """Return how many values a window reaches over."""
    return (conv.kernel_size[axis] - 1) * conv.dilation[axis] + 1


def _detail(graph: GraphModule, node: Node) -> str:
    conv = module_of(graph, node)
    assert isinstance(conv, nn.Conv2d)
    here, same = (", ".join(map(str, sides)) for sides in (both_sides(conv), _same(graph, node, conv)))
    return f"zeros above, below, left, right: {here}; SAME has {same}"
