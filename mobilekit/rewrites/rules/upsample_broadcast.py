"""Nearest upsampling as copies and a broadcast, or from the channels to space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.fx.depth_to_space import repeat
from mobilekit.rewrites.fx.graph import input_node, node_named, path_of, shape_of
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.fx.ops import (
    ADD,
    INTERPOLATE,
    MULTIPLY,
    arguments,
    is_call,
    operands,
    replace_by_module,
)

Combine = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Form = Literal["broadcast", "depth-to-space"]


class UpsampleOptions(Options):
    """Parameters of `upsample-broadcast`."""

    form: Form = Field(
        "broadcast",
        description="Copies along each row, and a broadcast along the columns; or copies of the channels, brought to "
        "space, where the factor is the same along both.",
    )


class UpsampleBroadcast(Rewrite[UpsampleOptions]):
    """Exact, bit for bit: the channels of a pixel k times are k pixels, and a row k times is k rows.

    Where the upsampled map is only multiplied by or added to another one, that operation repeats the rows itself, by a
    broadcast, and the large map is never made. XNNPACK has no kernel for a nearest resize, so each would end a
    partition; other delegates refuse views of more than four axes, so none is made.
    """

    name = "upsample-broadcast"
    exactness = Exactness.EXACT_WHEN
    summary = "Nearest upsampling by a whole factor, also to one more, as a broadcast, or from channels to space"
    options_type = UpsampleOptions

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the nearest upsamplings."""
        return [
            Site(node.name, path_of(node), _detail(graph, node))
            for node in graph.graph.nodes
            if is_call(graph, node, INTERPOLATE) and arguments(graph, node)["mode"].startswith("nearest")
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse sizes that do not come from repeating each value equally often."""
        node = node_named(graph, site.node)
        small, large = shape_of(input_node(node)), shape_of(node)
        assert small is not None
        assert large is not None
        if len(small) != 4:
            return f"its input has {len(small)} axes, not (N, C, H, W)"
        given = arguments(graph, node)
        for scale in _scales(given):
            if not scale.is_integer():
                return f"its scale factor {scale:g} is not whole"
        for length, size in zip(small[2:], large[2:], strict=True):
            if repeats(length, size, given["mode"]) is None:
                return f"{size} from {length} in the mode {given['mode']} repeats some values more often than others"
        return None

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Let the next operation broadcast, or copy."""
        node = node_named(graph, site.node)
        small = input_node(node)
        given = arguments(graph, node)
        mode, size, form = given["mode"], given["size"], self.options.form
        meeting = _meeting(graph, node)
        if meeting is not None:
            user, other, combine = meeting
            replace_by_module(graph, user, CombineWithUpsampled(combine, mode, form), other, small)
            graph.graph.erase_node(node)
        elif size is None:
            factors = tuple(int(scale) for scale in _scales(given))
            replace_by_module(graph, node, NearestUpsample(mode, factors, form), small)
        else:
            replace_by_module(graph, node, NearestUpsample(mode, form=form), small, size)


def _scales(given: dict[str, Any]) -> tuple[float, ...]:
    scale = given["scale_factor"]
    if scale is None:
        return ()
    return tuple(map(float, scale)) if isinstance(scale, Sequence) else (float(scale),)


def _detail(graph: GraphModule, node: Node) -> str:
    meeting = _meeting(graph, node)
    return f"the broadcast is {meeting[0].name}'s" if meeting else "copies"


def _meeting(graph: GraphModule, node: Node) -> tuple[Node, Node, Combine] | None:
    """Return the product or sum that alone takes an upsampled map, and the equally large map that it meets there."""
    if len(node.users) != 1:
        return None
    [user] = node.users
    for op, combine in ((MULTIPLY, torch.mul), (ADD, torch.add)):
        both = operands(graph, user, op)
        if both is not None:
            other = both[1] if both[0] is node else both[0]
            if isinstance(other, Node) and other is not node and shape_of(other) == shape_of(node):
                return user, other, combine
    return None


@lru_cache
def repeats(length: int, size: int, mode: str = "nearest") -> tuple[int, int] | None:
    """Return k and 0 where nearest upsampling repeats each value k times, k and 1 where the first is there once more.

    torch takes value floor(i * length / size) for i, in float32; `nearest-exact` floor((i + 0.5) * length / size). With
    size = k length each appears k times. With one more, as an average pool leaves odd maps, it is the first that
    appears once more, and in `nearest-exact` the middle one.
    """
    factor, lead = divmod(size, length)
    if factor < 1 or lead > 1:
        return None
    offset = 0.5 if mode == "nearest-exact" else 0.0
    taken = np.floor((np.arange(size, dtype=np.float32) + np.float32(offset)) * np.float32(length / size)).astype(int)
    counts = np.full(length, factor)
    counts[0] += lead
    return (factor, lead) if np.array_equal(taken, np.repeat(np.arange(length), counts)) else None


def enlarge(
    x: torch.Tensor, factors: tuple[int, int], leads: tuple[int, int], form: Form = "broadcast"
) -> torch.Tensor:
    """Repeat each value of (N, C, H, W) along H and W `factors` times, and the first `leads` times more."""
    if _goes_to_space(factors, form):
        for axis, lead in zip((2, 3), leads, strict=True):
            if lead:
                x = torch.cat([x.narrow(axis, 0, 1), x], axis)
        top, left = ((factor - 1) * lead for factor, lead in zip(factors, leads, strict=True))
        return repeat(x, factors[0])[:, :, top:, left:]
    rows = _widened(x, factors[1], leads[1])
    batch, height, _, length = rows.shape
    tall = _copies(rows, factors[0], 2).reshape(batch, height * factors[0], 1, length)
    if leads[0]:
        tall = torch.cat([rows[:, :1], tall], 1)
    return tall.reshape(batch, tall.shape[1], length // x.shape[1], x.shape[1]).permute(0, 3, 1, 2)


def _goes_to_space(factors: tuple[int, int], form: Form) -> bool:
    return form == "depth-to-space" and factors[0] == factors[1] > 1


def _widened(x: torch.Tensor, factor: int, lead: int) -> torch.Tensor:
    """Return the rows of (N, C, H, W), with their columns repeated, as (N, H, 1, W' C).

    Copies of all channels of a pixel are that many pixels in TFLite's order of axes, in which a view costs nothing.
    """
    batch, _, height, _ = x.shape
    x = x.permute(0, 2, 3, 1)
    wide = _copies(x, factor, 3).reshape(batch, height, 1, -1)
    return torch.cat([x[:, :, :1], wide], 3) if lead else wide


def _copies(x: torch.Tensor, count: int, axis: int) -> torch.Tensor:
    """Return `count` copies one after another, by twos and threes: XNNPACK joins no more than five tensors at once."""
    if count == 1:
        return x
    half = _copies(x, count // 2, axis)
    return torch.cat([half, half, *[x] * (count % 2)], axis)


class NearestUpsample(Lowered):
    """Upsampling of (N, C, H, W) in a nearest mode, by whole factors or to a size."""

    def __init__(self, mode: str, factors: tuple[int, ...] = (), form: Form = "broadcast") -> None:
        super().__init__()
        self.mode = mode
        self.factors = factors
        self.form = form

    def forward(self, x: torch.Tensor, size: Any = None) -> torch.Tensor:
        """Return the map at its new size."""
        if size is None:
            return enlarge(x, (self.factors[0], self.factors[-1]), (0, 0), self.form)
        size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        plans = _plans(x, size, self.mode)
        return F.interpolate(x, size=size, mode=self.mode) if plans is None else enlarge(x, *plans, self.form)


class CombineWithUpsampled(Lowered):
    """Product or sum of (N, C, H, W) and a smaller map, upsampled to the same size in a nearest mode."""

    def __init__(self, combine: Combine, mode: str, form: Form = "broadcast") -> None:
        super().__init__()
        self.combine = combine
        self.mode = mode
        self.form = form

    def forward(self, large: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
        """Return the product or sum."""
        size = (large.shape[2], large.shape[3])
        plans = _plans(small, size, self.mode)
        if plans is None:
            return self.combine(large, F.interpolate(small, size=size, mode=self.mode))
        factors, leads = plans
        if leads[0] or _goes_to_space(factors, self.form):
            return self.combine(large, enlarge(small, factors, leads, self.form))
        rows, large = _widened(small, factors[1], leads[1]), large.permute(0, 2, 3, 1)
        blocks = large.reshape(large.shape[0], rows.shape[1], factors[0], rows.shape[3])
        return self.combine(blocks, rows).reshape(large.shape).permute(0, 3, 1, 2)


def _plans(x: torch.Tensor, size: tuple[int, int], mode: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return factors and leads for both axes, or None where one has none."""
    rows, columns = (repeats(int(x.shape[axis + 2]), int(size[axis]), mode) for axis in (0, 1))
    if rows is None or columns is None:
        return None
    return (rows[0], columns[0]), (rows[1], columns[1])
