"""Which values of a graph take one factor with each other, so that a layer before can bring it and one behind undo it.

A convolution can multiply each of its output channels by a factor, and one behind it divide each of its input channels.
What lies between must carry the factor: a ReLU gives s times as much for s times as much, a sum does where its parts
have the same factor, and a sigmoid does not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves

from mobilekit.rewrites.fx.graph import calls_of, module_of, path_of, shape_of
from mobilekit.rewrites.fx.ops import (
    ADAPTIVE_AVERAGE_POOL,
    ADD,
    AVERAGE_POOL,
    CHANNEL_SHUFFLE,
    CLAMP,
    CONCATENATE,
    DIVIDE,
    DROPOUT,
    FLATTEN,
    INTERPOLATE,
    LEAKY_RELU,
    MAX_POOL,
    MEAN,
    MULTIPLY,
    PAD,
    PART,
    PERMUTE,
    RELU,
    RESHAPE,
    SIZE,
    SLICE,
    SPLIT,
    SQUEEZE,
    SUBTRACT,
    TRANSPOSE,
    UNFLATTEN,
    UNSQUEEZE,
    WHOLE,
    arguments,
    is_call,
)
from mobilekit.rewrites.shared.shuffles import ChannelShuffle

Layer = nn.Conv2d | nn.Linear
Factors = Mapping[int, float]
"""By the marks that stand for others; 1 where there is none."""

_NOTHING = 0
"""The mark of zeros, which are themselves times every factor."""
_ALIKE = (RELU, LEAKY_RELU, DROPOUT, WHOLE)
_SPATIAL = (ADAPTIVE_AVERAGE_POOL, AVERAGE_POOL, MAX_POOL, INTERPOLATE)
_MOVES = (
    CHANNEL_SHUFFLE,
    CONCATENATE,
    FLATTEN,
    PART,
    PERMUTE,
    RESHAPE,
    SLICE,
    SPLIT,
    SQUEEZE,
    TRANSPOSE,
    UNFLATTEN,
    UNSQUEEZE,
)


@dataclass(frozen=True)
class Ends:
    """The marks of a layer's channels."""

    node: Node
    layer: Layer
    taken: torch.Tensor
    """int64 (C_in,)."""
    made: torch.Tensor
    """int64 (C_out,)."""

    def divided(self, factors: torch.Tensor) -> torch.Tensor:
        """Return the weights with each input channel divided by a factor (C_in,)."""
        weight = self.layer.weight.detach()
        if isinstance(self.layer, nn.Linear):
            return weight / factors
        groups = self.layer.groups
        by_group = weight.reshape(groups, -1, *weight.shape[1:]) / factors.reshape(groups, 1, -1, 1, 1)
        return by_group.reshape(weight.shape)

    def scaled(self, made: torch.Tensor, taken: torch.Tensor) -> Layer:
        """Return the layer with factors (C_out,) on what it makes, of inputs that have factors (C_in,) already."""
        layer = copy.deepcopy(self.layer)
        weight = self.divided(taken)
        layer.weight = nn.Parameter(weight * made.reshape(-1, *[1] * (weight.ndim - 1)))
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias.detach() * made)
        return layer

    def weights_of_inputs(self) -> torch.Tensor:
        """Return the weights of each input channel, (C_in, others)."""
        weight = self.layer.weight.detach()
        groups = self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1
        return weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(2).flatten(0, 1)

    def shape_of_factors(self) -> tuple[int, ...]:
        """Return the shape in which factors of its input channels multiply its input."""
        return (1, -1, 1, 1) if isinstance(self.layer, nn.Conv2d) else (-1,)


def layer_at(graph: GraphModule, path: str) -> Layer:
    """Return the layer of a graph at a path that has `Ends`."""
    layer = graph.get_submodule(path)
    assert isinstance(layer, Layer)
    return layer


class Sets:
    """Whole numbers from 1 on, of which some are the same one; 0 is never joined."""

    def __init__(self, parents: Iterable[int] = (_NOTHING,)) -> None:
        self._parents = list(parents)

    def new(self, count: int) -> torch.Tensor:
        """Return numbers that are new, int64 (count,)."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def one(self, number: int) -> int:
        """Return the one that stands for all that are the same as this."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Make both numbers of each pair the same."""
        for left, right in pairs:
            if _NOTHING not in (left, right):
                self._parents[self.one(left)] = self.one(right)

    def copy(self) -> Sets:
        """Return the same sets, to be joined further."""
        return Sets(self._parents)

    def ones(self) -> torch.Tensor:
        """Return for each number the one that stands for it; int64."""
        return torch.tensor([self.one(number) for number in range(len(self._parents))])


@dataclass
class Carried:
    """Marks of all values of a graph, of which those of one set of `sets` take one factor."""

    sets: Sets = field(default_factory=Sets)
    marks: dict[Node, torch.Tensor] = field(default_factory=dict)
    """int64 of each tensor's shape."""
    layers: dict[str, Ends] = field(default_factory=dict)
    """Of the layers that can take a factor, by their path, in the order of the graph."""
    held: dict[int, str] = field(default_factory=dict)
    """Why a mark has the factor 1."""

    @cached_property
    def ones(self) -> torch.Tensor:
        """Return for each mark the one that stands for it; int64. For when all are joined."""
        return self.sets.ones()

    def of(self, marks: torch.Tensor) -> set[int]:
        """Return those that stand for some marks."""
        return set(torch.unique(self.ones[compact(marks)]).tolist())

    def free(self, marks: torch.Tensor) -> list[int]:
        """Return those that stand for some marks and may have a factor, in order."""
        return sorted(mark for mark in self.of(marks) if mark not in self.reasons)

    @cached_property
    def reasons(self) -> dict[int, str]:
        """Why a factor must be 1, by the marks that stand for others."""
        found = {_NOTHING: "it is always 0"}
        ones = self.ones.tolist()
        for mark, why in self.held.items():
            found.setdefault(ones[mark], why)
        return found

    def factors(self, marks: torch.Tensor, factors: Factors) -> torch.Tensor:
        """Return the factor of each mark, float64."""
        return torch.tensor([factors.get(mark, 1.0) for mark in self.ones[marks].tolist()], dtype=torch.float64)


def carried(graph: GraphModule) -> Carried:
    """Return which values of a graph take one factor; it has shapes for the recipe's inputs."""
    found = Carried()
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    with torch.no_grad():
        _Marker(graph, found).run(*[None] * len(placeholders))
    return found


class _Marker(Interpreter):
    """Runs a graph with marks in place of values."""

    def __init__(self, graph: GraphModule, found: Carried) -> None:
        super().__init__(graph)
        self.graph_module = graph
        self.found = found

    def run_node(self, n: Node) -> Any:
        """Return the marks of what a node makes, a constant or a number itself; None for anything else."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op == "get_attr" or is_call(self.graph_module, n, SIZE) or _is_constant(n, (args, kwargs)):
            value = super().run_node(n)
            return None if isinstance(value, torch.Tensor) and not value.is_floating_point() else value
        if n.op == "output":
            self._hold(args, "the model gives it out")
            return None
        made = None if n.op == "placeholder" else self._carry(n, args)
        if made is None:
            why = "the model takes it" if n.op == "placeholder" else f"{path_of(n)} does not carry a factor"
            made = self._held(n, (args, kwargs), why)
        if isinstance(made, torch.Tensor):
            self.found.marks[n] = made
        return made

    def _carry(self, n: Node, args: tuple[Any, ...]) -> Any:
        """Return the marks of what a node makes of marks; None where a factor would be lost."""
        graph, module = self.graph_module, module_of(self.graph_module, n)
        if isinstance(module, Layer):
            return self._layer(n, module, args[0])
        if is_call(graph, n, *_ALIKE) or isinstance(module, nn.PReLU):
            return args[0]
        if is_call(graph, n, *_MOVES) or isinstance(module, ChannelShuffle) or _is_zero_pad(graph, n):
            return self._moved(n, _tensors(args))
        if is_call(graph, n, *_SPATIAL) or _is_spatial_mean(graph, n):
            return self._spatial(n, args[0])
        if is_call(graph, n, ADD, SUBTRACT):
            return self._sum(n, args[0], args[1])
        if is_call(graph, n, MULTIPLY, DIVIDE):
            return self._product(n, args[0], args[1])
        return None

    def _layer(self, n: Node, layer: Layer, x: Any) -> torch.Tensor | None:
        shape, path = shape_of(n), str(n.target)
        axis = 1 if isinstance(layer, nn.Conv2d) else len(shape or ()) - 1
        if calls_of(self.graph_module, path) > 1 or not _is_marks(x) or shape is None or (axis == 1 and x.ndim == 3):
            return None
        made = self.found.sets.new(shape[axis])
        self.found.layers[path] = Ends(n, layer, self._by_channel(x, axis), made)
        return _spread(made, shape, axis)

    def _moved(self, n: Node, taken: list[torch.Tensor]) -> Any:
        """Return marks where an op puts them; None where it also takes constants, or refuses whole numbers."""
        if not taken or not all(map(_is_marks, taken)):
            return None
        with suppress(RuntimeError, TypeError):
            return _folded(super().run_node(n))
        return None

    def _spatial(self, n: Node, x: Any) -> torch.Tensor | None:
        """Return the marks of what is made of each channel (N, C, H, W) by itself."""
        shape = shape_of(n)
        if not _is_marks(x) or x.ndim != 4 or shape is None or shape[1] != x.shape[1]:
            return None
        return _spread(self._by_channel(x, 1), shape, 1)

    def _sum(self, n: Node, left: Any, right: Any) -> torch.Tensor | None:
        if not (_is_marks(left) and _is_marks(right)):
            return None
        shape = shape_of(n)
        if shape is None:
            return None
        left, right = left.expand(shape), right.expand(shape)
        self._join(left, right)
        return torch.where(left == _NOTHING, right, left) if bool((left == _NOTHING).any()) else left

    def _product(self, n: Node, left: Any, right: Any) -> torch.Tensor | None:
        """Let the larger part of a product carry, and hold the other to the factor 1; a divisor as well."""
        if is_call(self.graph_module, n, MULTIPLY) and _size(right) > _size(left):
            left, right = right, left
        if not _is_marks(left):
            return None
        if _is_marks(right):
            self._hold(right, f"{path_of(n)} multiplies another value by it")
        shape = shape_of(n)
        return None if shape is None else left.expand(shape)

    def _held(self, n: Node, given: Any, why: str) -> torch.Tensor | None:
        if is_call(self.graph_module, n, CLAMP):
            why = f"{path_of(n)} clamps it"
        self._hold(given, why)
        shape = shape_of(n)
        if shape is None:
            return None
        mark = self.found.sets.new(1)
        self._hold(mark, why)
        return mark.reshape(()).expand(shape)

    def _hold(self, values: Any, why: str) -> None:
        for marks in filter(_is_marks, _tensors(values)):
            for mark in torch.unique(compact(marks)).tolist():
                self.found.held.setdefault(mark, why)

    def _by_channel(self, marks: torch.Tensor, axis: int) -> torch.Tensor:
        """Return one mark for each channel, and join all marks of a channel."""
        rows = compact(marks, axis).movedim(axis, 0).flatten(1)
        first = rows.amax(1)  # zeros beside marks are carried
        if rows.shape[1] > 1:
            self._join(rows, first[:, None].expand_as(rows))
        return first

    def _join(self, left: torch.Tensor, right: torch.Tensor) -> None:
        for axis in range(left.ndim):
            if left.stride(axis) == right.stride(axis) == 0:
                left, right = left.narrow(axis, 0, 1), right.narrow(axis, 0, 1)
        differ = left != right
        self.found.sets.join(set(zip(left[differ].tolist(), right[differ].tolist(), strict=True)))


def _folded(value: Any) -> Any:
    """Return marks, or several, as views that repeat what is the same along an axis."""
    if isinstance(value, list | tuple):
        return type(value)(map(_folded, value))
    if not _is_marks(value) or not value.numel():
        return value
    shape = value.shape
    for axis in reversed(range(value.ndim)):
        first = value.narrow(axis, 0, 1)
        if value.shape[axis] == 1 or bool((compact(value) == compact(first)).all()):
            value = first
    return value.expand(shape)


def compact(marks: torch.Tensor, axis: int | None = None) -> torch.Tensor:
    """Return marks without what was spread, but for one axis: a view that repeats nothing."""
    for each, stride in enumerate(marks.stride()):
        if stride == 0 and each != axis:
            marks = marks.narrow(each, 0, 1)
    return marks


def _spread(marks: torch.Tensor, shape: tuple[int, ...], axis: int) -> torch.Tensor:
    """Return the marks of channels as those of a tensor of this shape."""
    return marks.reshape([-1 if each == axis else 1 for each in range(len(shape))]).expand(shape)


def _is_marks(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.int64


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _is_constant(node: Node, given: Any) -> bool:
    """Return whether a call makes something of numbers alone."""
    values = tree_leaves(given)
    return node.op == "call_function" and not any(value is None or isinstance(value, torch.Tensor) for value in values)


def _size(value: Any) -> int:
    return value.numel() if _is_marks(value) else -1


def _is_zero_pad(graph: GraphModule, node: Node) -> bool:
    if not is_call(graph, node, PAD):
        return False
    given = arguments(graph, node)
    return given["mode"] == "constant" and not given["value"]


def _is_spatial_mean(graph: GraphModule, node: Node) -> bool:
    if not is_call(graph, node, MEAN):
        return False
    axes = arguments(graph, node)["dim"] or ()
    return bool(axes) and {axis % 4 for axis in axes} <= {2, 3}
