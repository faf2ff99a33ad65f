"""A concatenation that is never made: the convolutions that take it add up what they make of its parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, node_named, path_of, shape_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    CLAMP,
    CONCATENATE,
    DROPOUT,
    HARD_SIGMOID,
    HARD_SWISH,
    MAX_POOL,
    RELU,
    SIGMOID,
    SILU,
    add_module,
    concatenated,
    is_call,
)
from mobilekit.rewrites.shared.convolutions import is_depthwise

_BY_CHANNEL = (
    ADAPTIVE_AVERAGE_POOL,
    AVERAGE_POOL,
    CLAMP,
    DROPOUT,
    HARD_SIGMOID,
    HARD_SWISH,
    MAX_POOL,
    RELU,
    SIGMOID,
    SILU,
)
"""What does the same to each channel, whatever the others are."""


@dataclass(frozen=True)
class _Plan:
    """What happens to a concatenation on its way to the convolutions that end it, in the order of the graph."""

    parts: list[Node]
    steps: list[Node]
    """Depthwise convolutions and functions of single channels."""
    ends: list[Node]
    """Dense convolutions: each becomes a sum."""

    @property
    def widths(self) -> list[int]:
        """Channels of each part."""
        return [_shape(part)[1] for part in self.parts]

    @property
    def added(self) -> int:
        """Values that the sums have, all additions together."""
        return sum(math.prod(_shape(end)) for end in self.ends) * (len(self.parts) - 1)


class ConcatIntoSum(Rewrite[Options]):
    """Exact: W [a, b] is W1 a + W2 b, and what works on each channel by itself works on the parts as well.

    A concatenation of two maps copies both. The sum that takes its place has the channels of the next convolution's
    output, which are few after a bottleneck's wide part. In int8 each part of the sum is rounded once more.
    """

    name = "concat-into-sum"
    exactness = Exactness.EXACT_WHEN
    summary = "Concatenation before a dense convolution as a sum of convolutions of its parts"

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the concatenations of channels that go, step by step, to a dense convolution."""
        return [
            Site(node.name, path_of(node), _detail(graph, node))
            for node in graph.graph.nodes
            if _parts(graph, node) and any(_is_dense(graph, end) for end in _reached(graph, node))
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where something takes all channels together, or the sums are more work than the concatenation."""
        plan = _plan(graph, node_named(graph, site.node))
        return plan if isinstance(plan, str) else None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Carry the parts through the steps, and add them up at the ends."""
        plan = _plan(graph, node_named(graph, site.node))
        assert isinstance(plan, _Plan)
        pieces = {node_named(graph, site.node): plan.parts}
        for node in plan.steps:
            pieces[node] = _step(graph, node, pieces[input_node(node)], plan.widths)
        for node in plan.ends:
            _sum(graph, node, pieces[input_node(node)], plan.widths)
        for node in reversed([*pieces]):
            graph.graph.erase_node(node)


class Sum(Lowered):
    """Sum of two maps (N, C, H, W), taken in TFLite's order of axes, to which a converter then brings nothing back."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        return (left.permute(0, 2, 3, 1) + right.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _plan(graph: GraphModule, joined: Node) -> _Plan | str:
    """Return what has to be done, or why it must not be."""
    plan = _Plan(_parts(graph, joined) or [], [], [])
    for node in _reached(graph, joined):
        if _is_dense(graph, node):
            plan.ends.append(node)
        elif _is_step(graph, node):
            plan.steps.append(node)
        else:
            return f"{node.name} takes it whole"
    # An addition reads two values and writes one, a concatenation reads and writes one.
    if 3 * plan.added >= 2 * math.prod(_shape(joined)):
        return f"the sums have {plan.added:,} values, and the concatenation {math.prod(_shape(joined)):,}"
    return plan


def _reached(graph: GraphModule, joined: Node) -> list[Node]:
    """Return what takes the concatenation, directly or through steps by channel; what a node takes comes before it."""
    found: dict[Node, None] = {}
    inside = [joined]
    for node in inside:
        for user in node.users:
            if user not in found and _is_step(graph, user):
                inside.append(user)
            found[user] = None
    return list(found)


def _parts(graph: GraphModule, node: Node) -> list[Node] | None:
    """Return the parts of a concatenation of channels of (N, C, H, W)."""
    if not is_call(graph, node, CONCATENATE):
        return None
    axis = node.args[1] if len(node.args) > 1 else 0
    parts, shape = concatenated(node), shape_of(node)
    if shape is None or len(shape) != 4 or axis not in (1, -3):
        return None
    return parts if len(parts) > 1 else None


def _conv_at(graph: GraphModule, node: Node) -> nn.Conv2d | None:
    """Return the convolution that a node alone calls."""
    conv = module_of(graph, node)
    is_own = isinstance(conv, nn.Conv2d) and conv.padding_mode == "zeros" and calls_of(graph, str(node.target)) == 1
    return conv if is_own else None  # type: ignore[return-value]


def _is_dense(graph: GraphModule, node: Node) -> bool:
    conv = _conv_at(graph, node)
    return conv is not None and conv.groups == 1


def _is_step(graph: GraphModule, node: Node) -> bool:
    """Return whether a node works on each channel by itself, and leaves what it takes."""
    conv = _conv_at(graph, node)
    if conv is not None:
        return is_depthwise(conv)
    return is_call(graph, node, *_BY_CHANNEL)


def _step(graph: GraphModule, node: Node, inputs: Sequence[Node], widths: Sequence[int]) -> list[Node]:
    """Return a step of each part."""
    conv = module_of(graph, node)
    if isinstance(conv, nn.Conv2d):
        layers = [_part_of(conv, slice(*bounds), slice(None)) for bounds in _bounds(widths)]
        return [add_module(graph, node, layer, x) for layer, x in zip(layers, inputs, strict=True)]
    with graph.graph.inserting_before(node):
        return [graph.graph.node_copy(node, {input_node(node): x}.__getitem__) for x in inputs]


def _sum(graph: GraphModule, node: Node, inputs: Sequence[Node], widths: Sequence[int]) -> None:
    """Put the sum of a dense convolution's parts, by its weights' columns, in its place."""
    conv = module_of(graph, node)
    assert isinstance(conv, nn.Conv2d)
    layers = [_part_of(conv, slice(None), slice(*bounds), bias=not bounds[0]) for bounds in _bounds(widths)]
    total, *others = [add_module(graph, node, layer, x) for layer, x in zip(layers, inputs, strict=True)]
    for other in others:
        total = add_module(graph, node, Sum(), total, other)
    node.replace_all_uses_with(total)
    graph.graph.erase_node(node)


def _part_of(conv: nn.Conv2d, rows: slice, columns: slice, bias: bool = True) -> nn.Conv2d:
    """Return the part of a convolution that makes these channels from those; a depthwise one has no columns."""
    weight = conv.weight.detach()[rows, columns].clone()
    part = nn.Conv2d(
        weight.shape[1] if conv.groups == 1 else len(weight),
        len(weight),
        weight.shape[2:],  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        groups=1 if conv.groups == 1 else len(weight),
        bias=bias and conv.bias is not None,
        dtype=weight.dtype,
    )
    part.weight.data = weight
    if part.bias is not None and conv.bias is not None:
        part.bias.data = conv.bias.detach()[rows].clone()
    return part


def _bounds(widths: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *accumulate(widths)]))


def _shape(node: Node) -> tuple[int, ...]:
    shape = shape_of(node)
    assert shape is not None
    return shape


def _detail(graph: GraphModule, joined: Node) -> str:
    plan = _plan(graph, joined)
    if isinstance(plan, str):
        return ""
    batch, *rest = _shape(joined)
    return f"{math.prod(rest):,} values not copied, {plan.added // batch:,} added"
