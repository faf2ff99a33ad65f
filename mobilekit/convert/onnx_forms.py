"""The ONNX form of operators for which torch's exporter has none, or one that costs a phone more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mobilekit.rewrites.fx.depth_to_space import depth_to_space  # noqa: F401, the operator exists once it is imported


def forms() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the functions that write each operator's ONNX form, as torch.onnx takes them."""
    return {
        torch.ops.aten.clamp.Tensor: _clamp,
        torch.ops.aten.mean.dim: _mean,
        torch.ops.mobilekit.depth_to_space.default: _depth_to_space,
    }


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
