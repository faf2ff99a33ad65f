"""Steps that float16 may break, carried out in float16 on the calibration inputs.

A GPU computes in float16 whatever the file's weights are, and says nothing where that goes wrong. Here the steps that
do go wrong (quotients, roots, normalizations) are run on the values that they get, with each operand and each result
rounded to float16, once with the subnormal numbers below 2^-14 and once without: not every GPU has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from mobilekit.rewrites.fx.graph import shape_of
from mobilekit.rewrites.fx.ops import (
    CLAMP,
    DIVIDE,
    GROUP_NORM,
    LAYER_NORM,
    MULTIPLY,
    SQUARE_ROOT,
    Op,
    arguments,
    is_call,
    number,
    operands,
    shifted,
)
from mobilekit.rewrites.fx.sign import lower_bound

LARGEST = 65504.0
"""float16's largest number."""
LEAST_NORMAL = 2.0**-14
"""Its least normal number, 6.1e-05. Below, it loses bits, and GPUs without subnormal numbers have 0."""
LEAST = 2.0**-24
"""Its least subnormal number, 6e-08; what is below half of it is 0 everywhere."""

aten = torch.ops.aten

_RECIPROCALS = Op((aten.rsqrt.default, aten.reciprocal.default, aten.log.default))
_INSTANCE_NORMS = Op((aten.instance_norm.default,))

Values = Mapping[Node, torch.Tensor]


def to_float16(x: torch.Tensor, subnormals: bool = True) -> torch.Tensor:
    """Return values rounded to float16; without subnormal numbers, those below 2^-14 are 0."""
    half = x.half()
    return half if subnormals else torch.where(half.abs() < LEAST_NORMAL, torch.zeros_like(half), half)


def probes(graph: GraphModule) -> list[Quotient | Norm]:
    """Return a probe for each step that divides by a computed value, or normalizes."""
    return [*_quotients(graph), *_norms(graph)]


class Quotient:
    """A quotient, or a reciprocal, root or logarithm, of a computed value.

    Args:
        graph: The graph.
        node: The step.
        denominator: What it divides by.
    """

    def __init__(self, graph: GraphModule, node: Node, denominator: Node) -> None:
        self.graph, self.node, self.denominator = graph, node, denominator
        self.chain = _chain(graph, denominator)
        made_of = {one for link in self.chain for one in link.all_input_nodes} - set(self.chain)
        self.needs = frozenset({node, denominator, *node.all_input_nodes, *made_of})
        self.eps = min((moved[1] for link in self.chain if (moved := shifted(graph, link))), default=None)
        """The constant that is added to it, if there is one."""
        self.bound = lower_bound(graph, denominator)
        """What the graph shows that it never falls below."""
        self.least = float("inf")
        """Least absolute denominator, in float32."""
        self.count = 0
        self.broken = {True: 0, False: 0}
        """Number of results that are not finite in float16 and are in float32, with subnormal numbers and without."""

    def see(self, values: Values) -> None:
        """Carry the step out in float16."""
        exact = values[self.node]
        self.least = min(self.least, float(values[self.denominator].abs().min()))
        self.count += exact.numel()
        for subnormals in (True, False):
            result = self._run(self.node, values, subnormals, {*self.chain, self.node})
            self.broken[subnormals] += int((~result.isfinite() & exact.isfinite()).sum())

    def _run(self, node: Node, values: Values, subnormals: bool, inside: set[Node]) -> torch.Tensor:
        """Return a step's result in float16; what is not `inside` is taken from float32 and rounded."""
        if node not in inside:
            return to_float16(values[node], subnormals)
        given: Any = map_arg((node.args, node.kwargs), lambda one: self._run(one, values, subnormals, inside))
        result = node.target(*given[0], **given[1])  # type: ignore[operator]
        return to_float16(result, subnormals)


class Norm:
    """A layer, group or instance normalization: it divides by the root of a variance, which is a sum of squares.

    Args:
        node: The step.
        eps: What is added to the variance.
        groups: How many groups of channels are normalized together; None where the last axes are.
        axes: How many last axes are normalized, of a layer norm.
    """

    def __init__(self, node: Node, eps: float, groups: int | None, axes: int = 1) -> None:
        self.node, self.eps, self.groups, self.axes = node, eps, groups, axes
        self.input = node.all_input_nodes[0]
        self.needs = frozenset({self.input})
        self.least = float("inf")
        """Least variance."""
        self.largest_sum = 0.0
        """Largest sum of squares."""

    def see(self, values: Values) -> None:
        """Take in the variances of one batch."""
        x = values[self.input]
        rows = x.flatten(-self.axes) if self.groups is None else x.reshape(len(x), self.groups, -1)
        variance = rows.var(-1, correction=0)
        self.least = min(self.least, float(variance.min()))
        self.largest_sum = max(self.largest_sum, float(variance.max()) * rows.shape[-1])

    def is_zero(self, subnormals: bool) -> bool:
        """Return whether the least variance with eps is 0 in float16."""
        parts = to_float16(torch.tensor([self.least, self.eps]), subnormals)
        return not bool(to_float16(parts.sum(), subnormals))


def _quotients(graph: GraphModule) -> Iterator[Quotient]:
    for node in graph.graph.nodes:
        both = operands(graph, node, DIVIDE)
        if both is not None and isinstance(both[1], Node) and both[1].op != "get_attr":
            yield Quotient(graph, node, both[1])
        elif is_call(graph, node, _RECIPROCALS) and node.all_input_nodes:
            yield Quotient(graph, node, node.all_input_nodes[0])


def _chain(graph: GraphModule, node: Node) -> list[Node]:
    """Return the sums with a constant, clamps, multiples and roots that a value is, the last of them first."""
    product = operands(graph, node, MULTIPLY)
    is_multiple = product is not None and any(number(one) is not None for one in product)
    is_link = shifted(graph, node) is not None or is_multiple or is_call(graph, node, CLAMP, SQUARE_ROOT)
    if not is_link or node.op == "call_module" or len(node.all_input_nodes) != 1:
        return []
    return [node, *_chain(graph, node.all_input_nodes[0])]


def _norms(graph: GraphModule) -> Iterator[Norm]:
    for node in graph.graph.nodes:
        if not is_call(graph, node, LAYER_NORM, GROUP_NORM, _INSTANCE_NORMS):
            continue
        given = arguments(graph, node)
        if is_call(graph, node, LAYER_NORM):
            yield Norm(node, float(given["eps"]), None, len(given["normalized_shape"]))
        elif is_call(graph, node, GROUP_NORM):
            yield Norm(node, float(given["eps"]), given["num_groups"])
        else:
            yield Norm(node, float(given["eps"]), (shape_of(node) or (1, 1))[1])
