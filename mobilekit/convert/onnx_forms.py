"""The ONNX form of operators for which torch's exporter has none, or one that costs a phone more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from mobilekit.rewrites.fx.depth_to_space import depth_to_space  # noqa: F401, the operator exists once it is imported


def forms() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the functions that write each operator's ONNX form, as torch.onnx takes them."""
    return {
        torch.ops.aten.clamp.Tensor: _clamp,
        torch.ops.aten.flip.default: _flip,
        torch.ops.aten.mean.dim: _mean,
        torch.ops.aten.select.int: _select,
        torch.ops.mobilekit.depth_to_space.default: _depth_to_space,
    }


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    *rest: Any,
    **more: Any,
) -> torch.Tensor:
    """Return scaled dot product attention of tensors (..., L, E) of any number of axes: torch.onnx takes those of four.

    Args:
        query: Of the shape (..., L, E).
        key: Of the shape (..., S, E).
        value: Of the shape (..., S, D).
        mask: Fits (..., L, S).
        rest: As PyTorch's function takes them.
        more: Likewise.
    """
    leading = query.shape[:-2]
    if len(leading) == 2:
        return F.scaled_dot_product_attention(query, key, value, mask, *rest, **more)
    if mask is not None and mask.dim() > 3:
        mask = mask.expand(*leading, *mask.shape[-2:]).flatten(0, -4)
    ones = (1,) * (2 - len(leading))

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(*ones, *tensor.shape) if ones else tensor.flatten(0, -4)

    made = F.scaled_dot_product_attention(moved(query), moved(key), moved(value), mask, *rest, **more)
    return made.reshape(*leading, *made.shape[-2:])


def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002, ATen's names
    """Return Clip where the bounds are single numbers: torch's exporter makes tensors of those that are whole."""
    from onnxscript import opset18 as op

    least, most = (None if bound is None else op.CastLike(bound, x) for bound in (min, max))
    if all(bound is None or not len(bound.shape) for bound in (min, max)):
        return op.Clip(x, least, most)
    above = x if least is None else op.Max(x, least)
    return above if most is None else op.Min(above, most)


def _depth_to_space(x: Any, factor: int) -> Any:
    from onnxscript import opset18 as op

    return op.DepthToSpace(x, blocksize=factor, mode="DCR")


def _flip(x: Any, dims: Sequence[int]) -> Any:
    """Return a Gather for each axis: onnx2tf makes another function of a Slice that goes backwards, or drops it."""
    from onnxscript import opset18

    op: Any = opset18  # its types are those of a file, and here it takes Python's
    made = op.Identity(x)
    for axis in (axis % len(x.shape) for axis in dims):
        made = op.Gather(made, op.Constant(value_ints=[*reversed(range(x.shape[axis]))]), axis=axis)
    return made


def _mean(x: Any, dim: Sequence[int], keepdim: bool = False, dtype: int = -1) -> Any:
    """Return the mean of whole maps as GlobalAveragePool, and any other as ReduceMean.

    onnx2tf takes a ReduceMean for one of any layout, and puts a TRANSPOSE before it.
    """
    from onnxscript import opset18

    op: Any = opset18  # its types are those of a file, and here it takes Python's
    axes = sorted(axis % len(x.shape) for axis in dim)
    if len(x.shape) == 4 and axes == [2, 3] and keepdim:
        made = op.GlobalAveragePool(x)
    else:
        made = op.ReduceMean(x, op.Constant(value_ints=axes), keepdims=int(keepdim))
    return made if dtype in (-1, None) else op.Cast(made, to=dtype)


def _select(x: Any, dim: int, index: int) -> Any:
    """Return a Slice without its axis: XNNPACK has a kernel for it, and none for the Gather of torch's exporter."""
    from onnxscript import opset18

    op: Any = opset18  # its types are those of a file, and here it takes Python's
    axis = dim % len(x.shape)
    place = index % x.shape[axis]
    cut = op.Slice(x, *(op.Constant(value_ints=[number]) for number in (place, place + 1, axis)))
    return op.Squeeze(cut, op.Constant(value_ints=[axis]))
