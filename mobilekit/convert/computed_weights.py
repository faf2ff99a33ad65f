"""Layers by weights that a model computes from its inputs, as products: converters take weights that are there.

Instance segmentation has such convolutions in its heads, and trackers, which look for a part of one map in another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.nn import functional as F

from mobilekit.artifacts.delegate import MOST_JOINED

aten = torch.ops.aten
Numbers = int | Sequence[int]


def as_products(graph: Graph) -> None:
    """Let functions of products stand for the layers of a graph whose weights depend on its inputs, in place.

    Args:
        graph: Its layers with weights of their own are modules.
    """
    given = set[Node]()
    for node in graph.nodes:
        if node.op == "placeholder" or any(each in given for each in node.all_input_nodes):
            given.add(node)
            function = _FUNCTIONS.get(node.target)
            if function is not None and any(each in given for each in node.all_input_nodes[1:]):
                node.target = function


def convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Return a convolution as the product of what lies under each place of the kernel with the weights there.

    Args:
        x: (N, C, ...), of one spatial axis or several.
        weight: (O, C / groups, ...).
        bias: (O).
        stride: As PyTorch takes it, like what follows.
        padding: Likewise.
        dilation: Likewise.
        groups: Likewise.
    """
    kernel = weight.shape[2:]
    steps, gaps = _each(stride, len(kernel)), _each(dilation, len(kernel))
    reach = [gap * (length - 1) for gap, length in zip(gaps, kernel, strict=True)]
    ends = [(each // 2, each - each // 2) for each in reach] if padding == "same" else None
    ends = ends or [(each, each) for each in _each(0 if isinstance(padding, str) else padding, len(kernel))]
    last = F.pad(x, [*itertools.chain(*reversed(ends))]).movedim(1, -1)
    sizes = [(length - far - 1) // step + 1 for length, far, step in zip(last.shape[1:-1], reach, steps, strict=True)]
    parts = []
    for place in itertools.product(*map(range, kernel)):
        starts = [gap * number for gap, number in zip(gaps, place, strict=True)]
        cut = [slice(at, at + (n - 1) * step + 1, step) for at, n, step in zip(starts, sizes, steps, strict=True)]
        parts.append(last[(slice(None), *cut)].reshape(len(x), math.prod(sizes), x.shape[1]))
    made = _product(parts, weight.flatten(2), groups)
    made = made if bias is None else made + bias
    return made.reshape(len(x), *sizes, len(weight)).movedim(-1, 1)


def _product(parts: Sequence[torch.Tensor], weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return (N, P, O) of values (N, P, C) at each place of a kernel, and weights (O, C / groups, places)."""
    count, width, places = weight.shape
    if width == 1 and count == groups:
        factors = torch.split(weight, 1, 2)
        return reduce(torch.add, (part * each.reshape(count) for part, each in zip(parts, factors, strict=True)))
    number, size, _channels = parts[0].shape
    rows = [part.reshape(number, size, groups, width).transpose(1, 2) for part in parts] if groups > 1 else parts
    grouped = _joined(rows, -1).reshape(number, groups, size, places * width)
    weights = weight.reshape(groups, count // groups, width, places).permute(0, 3, 2, 1)
    made = grouped @ weights.reshape(1, groups, places * width, count // groups)
    return made.transpose(1, 2).reshape(number, size, count)


def _joined(parts: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
    """Return a concatenation, by several of as many as one of XNNPACK's takes."""
    while len(parts) > 1:
        few = [parts[start : start + MOST_JOINED] for start in range(0, len(parts), MOST_JOINED)]
        parts = [torch.cat([*each], axis) for each in few]
    return parts[0]


def _each(value: Numbers, count: int) -> list[int]:
    """Return a number for each axis."""
    numbers = [value] if isinstance(value, int) else [*value]
    return numbers * count if len(numbers) == 1 else numbers


def _layer_norm(
    x: torch.Tensor,
    shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *_rest: Any,
) -> torch.Tensor:
    """Return a layer norm without weights, times the weights, plus the bias."""
    made = F.layer_norm(x, [*shape], eps=eps)
    made = made if weight is None else made * weight
    return made if bias is None else made + bias


_FUNCTIONS: dict[Any, Callable[..., torch.Tensor]] = {
    **dict.fromkeys((aten.conv1d.default, aten.conv1d.padding), convolution),
    **dict.fromkeys((aten.conv2d.default, aten.conv2d.padding), convolution),
    aten.layer_norm.default: _layer_norm,
}
