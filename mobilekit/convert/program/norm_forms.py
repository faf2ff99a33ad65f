"""Forms of norms: their formulas, with the means as XNNPACK has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Node

from mobilekit.convert.program.arithmetic_forms import weighted_sum
from mobilekit.convert.program.graph import Writer, given, shape_of

aten = torch.ops.aten


def layer_norm(writer: Writer, node: Node) -> Node | None:
    """Return a layer norm as its formula, with means as linear maps."""
    arguments = given(node)
    source, sizes = arguments["input"], arguments["normalized_shape"]
    writer.as_formula_of("LayerNorm")
    shape, count = shape_of(source), math.prod(sizes)
    rows = writer.view(source, math.prod(shape) // count, count)
    centered = writer.call(aten.sub.Tensor, rows, weighted_sum(writer, rows, 1 / count))
    variance = weighted_sum(writer, writer.call(aten.mul.Tensor, centered, centered), 1 / count)
    scale = writer.call(aten.rsqrt.default, writer.call(aten.add.Tensor, variance, arguments["eps"]))
    made = writer.view(writer.call(aten.mul.Tensor, centered, scale), *shape)
    if arguments["weight"] is not None:
        made = writer.call(aten.mul.Tensor, made, arguments["weight"])
    return made if arguments["bias"] is None else writer.call(aten.add.Tensor, made, arguments["bias"])


def group_norm(writer: Writer, node: Node) -> Node:
    """Return a group norm of a map as its formula (arXiv 1803.08494, equations 1 to 3)."""
    arguments = given(node)
    return _of_groups(writer, arguments["input"], arguments["num_groups"], arguments)


def instance_norm(writer: Writer, node: Node) -> Node | None:
    """Return an instance norm of a map as a group norm with a group a channel."""
    arguments = given(node)
    source = arguments["input"]
    return _of_groups(writer, source, shape_of(source)[1], arguments) if arguments["use_input_stats"] else None


def _of_groups(writer: Writer, source: Node, groups: int, arguments: Mapping[str, Any]) -> Node:
    """Return the norm of each group of channels of values (N, C, ...), with a weight and a bias a channel."""
    writer.as_formula_of("GroupNorm")
    shape = shape_of(source)
    width = shape[-1] if len(shape) > 2 else 1
    maps = writer.view(source, shape[0], groups, math.prod(shape[1:]) // (groups * width), width)
    centered = writer.call(aten.sub.Tensor, maps, writer.call(aten.mean.dim, maps, [2, 3], True))
    variance = writer.call(aten.mean.dim, writer.call(aten.mul.Tensor, centered, centered), [2, 3], True)
    scale = writer.call(aten.rsqrt.default, writer.call(aten.add.Tensor, variance, arguments["eps"]))
    made = writer.view(writer.call(aten.mul.Tensor, centered, scale), *shape)
    for name, step in (("weight", aten.mul.Tensor), ("bias", aten.add.Tensor)):
        if arguments[name] is not None:
            made = writer.call(step, made, writer.view(arguments[name], shape[1], *[1] * (len(shape) - 2)))
    return made
