"""Forms of steps on maps (N, C, H, W): pools and changes of size."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from mobilekit.convert.program.graph import Writer, given, is_float, shape_of

aten = torch.ops.aten
MAP = 4
"""Axes of a map in a batch."""
CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def adaptive_pool(writer: Writer, node: Node) -> Node | None:
    """Return a pool to one value a map as a mean, and one to sizes that divide the map's as a plain pool."""
    source = node.args[0]
    assert isinstance(source, Node)
    shape, wanted = shape_of(source), shape_of(node)
    if len(shape) != MAP or any(large % small for large, small in zip(shape[2:], wanted[2:], strict=True)):
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
    if len(shape_of(source)) != MAP or not (counts or divisor) or _reaches_out(node, window, stride, padding):
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
    (_batch, _channels, height, width), wanted = shape_of(source), shape_of(node)
    rows, columns = wanted[2] // height, wanted[3] // width
    scales = given(node)["scale_factors"]
    is_whole = (height * rows, width * columns) == wanted[2:] and not (scales and [*scales] != [rows, columns])
    return repeated(writer, source, rows, columns) if is_whole and is_float(node) else None


def repeated(writer: Writer, source: Node, rows: int, columns: int) -> Node:
    """Return a map with each place so many times along its height and width: all channels of a place at once."""
    batch, channels, height, width = shape_of(source)
    pixels = writer.call(aten.permute.default, source, CHANNELS_LAST)
    ones = writer.constant(torch.ones(1, 1, rows, 1, columns, 1))
    spread = writer.call(aten.mul.Tensor, writer.view(pixels, batch, height, 1, width, 1, channels), ones)
    large = writer.view(spread, batch, height * rows, width * columns, channels)
    return writer.call(aten.permute.default, large, CHANNELS_FIRST)


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
    return by_linear_maps(writer, node)


def resized(writer: Writer, node: Node) -> Node | None:
    """Return a change of size as linear maps, but for an enlargement by whole factors.

    coremltools 9 takes (new size + 1e-4) / size for the factor, and forgets to smooth before it makes a map smaller.
    """
    shape, wanted = shape_of(node.args[0]), shape_of(node)  # type: ignore[arg-type]
    ratios = [large / small for large, small in zip(wanted[2:], shape[2:], strict=True)]
    scales = given(node)["scale_factors"]
    is_whole = all(ratio.is_integer() for ratio in ratios) and (not scales or [*scales] == ratios)
    is_known = node.target in (aten.upsample_nearest2d.vec, aten.upsample_bilinear2d.vec)
    return None if is_whole and is_known else by_linear_maps(writer, node)


def by_linear_maps(writer: Writer, node: Node) -> Node:
    """Return a change of size as a linear map of its width and one of its height."""
    source = node.args[0]
    assert isinstance(source, Node)
    for axis in (3, 2):
        moved = source if axis == 3 else writer.call(aten.permute.default, source, [0, 1, 3, 2])
        source = writer.call(aten.linear.default, moved, writer.constant(_places(node, axis)))
    return writer.call(aten.permute.default, source, [0, 1, 3, 2])


def _places(node: Node, axis: int) -> torch.Tensor:
    """Return the linear map of an axis, (new length, length), as PyTorch itself changes the size of unit vectors."""
    arguments, target = given(node), node.target
    length, wanted, scales = shape_of(arguments["input"])[axis], shape_of(node)[axis], arguments["scale_factors"]
    size = {"output_size": None, "scale_factors": [1.0, scales[axis - 2]]} if scales else {"output_size": [1, wanted]}
    units = torch.eye(length, dtype=torch.float64)[None, :, None]
    made = target(**{**arguments, "input": units, **size})  # type: ignore[operator]
    return made[0, :, 0].T.contiguous()  # type: ignore[no-any-return]


def _pair(value: Any) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * 2 if len(numbers) == 1 else numbers
