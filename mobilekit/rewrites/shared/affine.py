"""What a graph adds up: convolutions of one input, what scales and shifts channels, and the input itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.rewrites.fx.constants import constant_of, needing_input
from mobilekit.rewrites.fx.graph import calls_of, input_node, module_of, shape_of
from mobilekit.rewrites.fx.ops import (
    ADD,
    AVERAGE_POOL,
    DIVIDE,
    MEAN,
    MULTIPLY,
    NEGATE,
    SLICE,
    STACK,
    SUBTRACT,
    SUM,
    arguments,
    is_call,
    number,
    operands,
)
from mobilekit.rewrites.shared.branches import Branch, identity
from mobilekit.rewrites.shared.norms import scale_and_shift
from mobilekit.rewrites.shared.pools import averaging, uneven


@dataclass(frozen=True)
class Affine:
    """A value as the sum of convolutions of one input, and a constant for each channel."""

    source: Node
    """The input."""
    node: Node
    """Makes the value."""
    branches: tuple[Branch, ...]
    constant: torch.Tensor
    """(C,)."""
    steps: tuple[Node, ...] = ()
    """What adds, scales and shifts on the way."""

    def scaled(self, factor: torch.Tensor) -> Affine:
        """Return the value times a factor (C,) for each channel."""
        branches = (Branch(each.conv, each.factor * factor, each.path, each.problem) for each in self.branches)
        return replace(self, branches=tuple(branches), constant=self.constant * factor)

    def plus(self, other: Affine) -> Affine:
        """Return the sum with another value of the same input."""
        branches, steps = self.branches + other.branches, self.steps + other.steps
        return Affine(self.source, self.node, branches, self.constant + other.constant, steps)


@dataclass(frozen=True)
class _Step:
    """A step that adds up values of its own shape, each times a factor, and a constant."""

    parts: Sequence[tuple[Node, torch.Tensor]]
    constant: torch.Tensor


class AffineReader:
    """Reads values of a graph as sums.

    A step whose result others take too is not looked through: it would have to be computed for them as well.
    """

    def __init__(self, graph: GraphModule) -> None:
        self.graph = graph
        self._varying = needing_input(graph)
        self._known: dict[Node, Affine] = {}

    def roots(self) -> list[Node]:
        """Return the sums and scalings that are not part of others, in the order of the graph."""
        inside: set[Node] = set()
        found = []
        for node in reversed(self.graph.graph.nodes):
            if node in inside or self._step(node) is None:
                continue
            found.append(node)
            inside |= self._sums(node)
            inside |= {step for each in self.summands(node) for step in each.steps}
        return found[::-1]

    def summands(self, root: Node) -> list[Affine]:
        """Return what a root adds up: itself, where all of it is of one input."""
        sums = self._sums(root)
        if root not in sums:
            return [self.root(root)]
        nodes = [part for each in self.graph.graph.nodes if each in sums for part in each.args[:2]]
        return [self.affine(part) for part in nodes if isinstance(part, Node) and part not in sums]

    def affine(self, node: Node) -> Affine:
        """Return a value as a sum; one that others take too, or that is no sum, is the value itself."""
        if node not in self._known:
            found = self._read(node) if len(node.users) == 1 else None
            self._known[node] = found or self._itself(node)
        return self._known[node]

    def root(self, node: Node) -> Affine:
        """Return what a root makes of one input, whoever takes it."""
        return self._read(node) or self._itself(node)

    def _sums(self, root: Node) -> set[Node]:
        """Return the plain sums of two values of unlike inputs that a root consists of, with it."""
        found: set[Node] = set()
        waiting = [root]
        for node in waiting:  # grows
            affine = self.root(node) if node is root else self.affine(node)
            if (node is root or len(node.users) == 1) and self._is_plain(node) and not affine.steps:
                found.add(node)
                waiting += [part for part in node.args[:2] if isinstance(part, Node)]
        return found

    def _is_plain(self, node: Node) -> bool:
        step = self._step(node) if is_call(self.graph, node, ADD) else None
        return step is not None and len(step.parts) == 2 and all(bool((factor == 1).all()) for _, factor in step.parts)

    def _itself(self, node: Node) -> Affine:
        shape = shape_of(node)
        channels = shape[1] if shape is not None and len(shape) > 1 else 1
        ones = torch.ones(channels, dtype=torch.float64)
        return Affine(node, node, (Branch(identity(channels), ones),), ones * 0)

    def _read(self, node: Node) -> Affine | None:
        """Return what a node makes of one input; None where it is no sum, or of several."""
        if not _is_map(node):
            return None
        single = self._single(node)
        if single is not None:
            return single
        step = self._step(node)
        if step is None:
            return None
        parts = [self.affine(part).scaled(factor) for part, factor in step.parts]
        if len({part.source for part in parts}) > 1:
            return None
        total = reduce(Affine.plus, parts)
        return replace(total, node=node, constant=total.constant + step.constant, steps=(*total.steps, node))

    def _single(self, node: Node) -> Affine | None:
        """Return a convolution, a pool or a part of a map as the one branch that it is."""
        shape = shape_of(node)
        assert shape is not None
        ones = torch.ones(shape[1], dtype=torch.float64)
        conv = module_of(self.graph, node)
        if isinstance(conv, nn.Conv2d):
            problem = self._problem(conv, str(node.target))
            return Affine(input_node(node), node, (Branch(conv, ones, str(node.target), problem),), ones * 0)
        if is_call(self.graph, node, AVERAGE_POOL):
            given = arguments(self.graph, node)
            reason = uneven(given)
            problem = f"{node.name} is no convolution: {reason}" if reason else ""
            branch = Branch(averaging(shape[1], given), ones, problem=problem)
            return Affine(input_node(node), node, (branch,), ones * 0)
        if is_call(self.graph, node, SLICE) and node.args[1] != 1:
            source = node
            while is_call(self.graph, source, SLICE):
                source = input_node(source)
            branch = Branch(identity(shape[1]), ones, problem=f"{node.name} takes a part of their input")
            return Affine(source, node, (branch,), ones * 0)
        return None

    def _problem(self, conv: nn.Conv2d, path: str) -> str:
        if conv.padding_mode != "zeros":
            return f"{path} pads by {conv.padding_mode}"
        return f"{path} is called more than once" if calls_of(self.graph, path) > 1 else ""

    def _step(self, node: Node) -> _Step | None:
        """Return what a node adds up, shape by shape and channel by channel; None where it does something else."""
        if not _is_map(node):
            return None
        step = self._scaling(node) or self._normalization(node) or self._sum(node)
        shape = shape_of(node)
        is_one_shape = step is not None and all(shape_of(part) == shape for part, _factor in step.parts)
        return step if is_one_shape else None

    def _scaling(self, node: Node) -> _Step | None:
        product, quotient = operands(self.graph, node, MULTIPLY), operands(self.graph, node, DIVIDE)
        for value, by in (product, product[::-1]) if product else (quotient,) if quotient else ():
            factor = self._constant(by, node)
            if self._varies(value) and factor is not None:
                return _Step([(value, factor if product else 1 / factor)], factor * 0)
        if is_call(self.graph, node, NEGATE):
            ones = torch.ones(_channels(node), dtype=torch.float64)
            return _Step([(input_node(node), -ones)], ones * 0)
        return None

    def _normalization(self, node: Node) -> _Step | None:
        norm = module_of(self.graph, node)
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            return None
        scale, shift = scale_and_shift(norm)
        return _Step([(input_node(node), scale)], shift)

    def _sum(self, node: Node) -> _Step | None:
        terms = self._terms(node)
        if terms is None:
            return None
        parts, constant = [], torch.zeros(_channels(node), dtype=torch.float64)
        for value, factor in terms:
            if self._varies(value):
                parts.append((value, torch.full_like(constant, factor)))
                continue
            added = self._constant(value, node)
            if added is None:
                return None
            constant = constant + factor * added
        return _Step(parts, constant) if parts else None

    def _terms(self, node: Node) -> list[tuple[Any, float]] | None:
        """Return what a node adds up, each with its factor."""
        if is_call(self.graph, node, ADD, SUBTRACT):
            alpha = number(arguments(self.graph, node)["alpha"])
            sign = -1 if is_call(self.graph, node, SUBTRACT) else 1
            return [(node.args[0], 1.0), (node.args[1], sign * alpha)] if alpha is not None else None
        stack = input_node(node) if is_call(self.graph, node, SUM, MEAN) else None
        if stack is None or not is_call(self.graph, stack, STACK) or len(stack.users) > 1:
            return None
        given, axis, values = arguments(self.graph, node), arguments(self.graph, stack)["dim"], _listed(stack)
        if given["dtype"] is not None or [each % 5 for each in given["dim"] or ()] != [axis % 5]:
            return None
        return [(value, 1 / len(values) if is_call(self.graph, node, MEAN) else 1.0) for value in values]

    def _varies(self, value: Any) -> bool:
        return isinstance(value, Node) and value in self._varying

    def _constant(self, value: Any, node: Node) -> torch.Tensor | None:
        """Return a stored value as one (C,) for each channel of what a node makes; None where it is another."""
        single = number(value)
        if single is not None:
            return torch.full((_channels(node),), single, dtype=torch.float64)
        stored = None if self._varies(value) else constant_of(self.graph, value)
        if stored is None or stored.ndim > 4 or stored.is_complex():
            return None
        if stored.numel() == 1:
            return stored.detach().double().reshape(1).repeat(_channels(node))
        shape = (1,) * (4 - stored.ndim) + tuple(stored.shape)
        return stored.detach().double().flatten() if shape == (1, _channels(node), 1, 1) else None


def _listed(stack: Node) -> list[Any]:
    values = stack.args[0]
    return list(values) if isinstance(values, list | tuple) else []


def _is_map(node: Node) -> bool:
    shape = shape_of(node)
    return shape is not None and len(shape) == 4


def _channels(node: Node) -> int:
    shape = shape_of(node)
    assert shape is not None
    return shape[1]
