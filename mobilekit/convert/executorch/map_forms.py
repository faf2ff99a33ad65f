"""Forms of steps on maps (N, C, H, W): pools and changes of size."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.nn import functional as F

from mobilekit.convert.executorch.graph import Writer, given, is_float, shape_of

aten = torch.ops.aten
_MAP = 4
"""Axes of a map in a batch."""


def adaptive_pool(writer: Writer, node: Node) -> Node | None:
    """Return a pool to one value a map as a mean, and one to sizes that divide the map's as a plain pool."""
    source = node.args[0]
    assert isinstance(source, Node)
    shape, wanted = shape_of(source), shape_of(node)
    if len(shape) != _MAP or any(large % small for large, small in zip(shape[2:], wanted[2:], strict=True)):
        return None
    if wanted[2:] == (1, 1):
        return writer.call(aten.mean.dim, source, [2, 3], True)
    window = [large // small for large, small in zip(shape[2:], wanted[2:], strict=True)]
    return writer.call(aten.avg_pool2d.default, source, window, window)


def average_pool(writer: Writer, node: Node) -> Node | None:
    """Return an average pool that counts its padding as one of a padded map, and another divisor as a factor."""
    arguments = given(node)
    source = arguments["self"]
    window, padding = _pair(arguments["kernel_size"]), _pair(arguments["padding"] or 0)
    stride = _pair(arguments["stride"] or window)
    size, divisor = window[0] * window[1], arguments["divisor_override"]
    counts = arguments["count_include_pad"] and any(padding)
    if len(shape_of(source)) != _MAP or not (counts or divisor) or _reaches_out(node, window, stride, padding):
        return None
    if divisor and any(padding):
        counts = True  # a divisor of one's own does not ask what is padding
    if counts:
        source = writer.call(aten.constant_pad_nd.default, source, [padding[1]] * 2 + [padding[0]] * 2, 0.0)
        padding = [0, 0]
    pool = writer.call(aten.avg_pool2d.default, source, window, stride, padding)
    return writer.call(aten.mul.Tensor, pool, size / divisor) if divisor else pool


def _reaches_out(node: Node, window: list[int], stride: list[int], padding: list[int]) -> bool:
    """Return whether windows reach past the padding, as they may in ceil mode."""
    shape, made = shape_of(given(node)["self"]), shape_of(node)
    return any(
        (made[axis + 2] - 1) * stride[axis] + window[axis] > shape[axis + 2] + 2 * padding[axis] for axis in (0, 1)
    )


def nearest(writer: Writer, node: Node) -> Node | None:
    """Return an upsampling that repeats each value equally often as a product with ones, which repeats them."""
    source = node.args[0]
    assert isinstance(source, Node)
    (batch, channels, height, width), wanted = shape_of(source), shape_of(node)
    rows, columns = wanted[2] // height, wanted[3] // width
    scales = given(node)["scale_factors"]
    is_whole = (height * rows, width * columns) == wanted[2:] and not (scales and [*scales] != [rows, columns])
    if not is_whole or not is_float(node):
        return None
    spread = writer.view(source, batch * channels, height, 1, width, 1)
    ones = writer.constant(torch.ones(1, 1, rows, 1, columns))
    return writer.view(writer.call(aten.mul.Tensor, spread, ones), *wanted)


def bilinear(writer: Writer, node: Node) -> Node | None:
    """Return an upsampling by a factor that is not the ratio of the sizes as two linear maps.

    ExecuTorch 1.5 takes the ratio of the sizes for the factor, and so other places.
    """
    arguments = given(node)
    source, scales = arguments["input"], arguments["scale_factors"]
    shape, wanted = shape_of(source), shape_of(node)
    ratios = [large / small for large, small in zip(wanted[2:], shape[2:], strict=True)]
    if not scales or arguments["align_corners"] or [*scales] == ratios:
        return None
    for axis in (1, 0):
        weight = _places(shape[axis + 2], scales[axis])
        moved = source if axis else writer.call(aten.permute.default, source, [0, 1, 3, 2])
        source = writer.call(aten.linear.default, moved, writer.constant(weight))
    return writer.call(aten.permute.default, source, [0, 1, 3, 2])


def _places(length: int, scale: float) -> torch.Tensor:
    """Return the linear map of an axis, (new length, length), as PyTorch itself interpolates unit vectors."""
    units = torch.eye(length, dtype=torch.float64)[None, :, None]
    made = F.interpolate(units, scale_factor=(1.0, scale), mode="bilinear", recompute_scale_factor=False)
    return made[0, :, 0].T.contiguous()


def _pair(value: Any) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * 2 if len(numbers) == 1 else numbers
