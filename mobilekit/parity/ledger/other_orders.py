"""Float32 evaluations of a model whose sums are added in other orders than PyTorch's.

PyTorch adds in blocks, in which rounding errors grow with the logarithm of a sum's length. Other kernels add one term
after the other, and are right too: n terms of one sign then have n partial sums S_k = k S / n, each rounded by up to
u = 2^-24 of itself. The worst case is n u / 2 of the sum; rounding errors that are independent, with a variance of
about u^2 / 6, make it u sqrt(n / 18) on average: 26 u for a mean over 112 x 112 values, and PyTorch's own is 1 u.
(Source of the bounds: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, chapter 4.) A worst case
holds for any model, and says nothing of one; so the model at hand is run in some such orders, and what comes of it is
its own figure. Permutations alone would not do: PyTorch adds permuted terms in blocks as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mobilekit.artifacts.pytorch import as_array, batch_size
from mobilekit.artifacts.runtime import Arrays
from mobilekit.models.batches import run_in_batches

ORDERS = 8
"""Evaluations, where sums are long enough to matter. The error of a net with one output is one value, and several are
needed to know how large another may be: of independent normal values another's is more than 3 times the largest of 8
with a chance of 9e-4, and of 3 with one of 2.4 %. (Drawn 4 million times.)"""
FEWEST_ORDERS = 2
"""Where none of these is off by more than twice the reference's own error, no sum is long, and there are no others."""
MANY_TERMS = 1024
"""Products of fewer terms are not added one by one, which takes long, but by PyTorch in a permuted order: an error of
u sqrt(n / 12), that of products of both signs, is 9 u then, 3 times that of a sum in blocks, which limits allow."""
_MOST_PRODUCTS = 2**26
"""Of one layer and batch, that are added one by one: about half a second."""
_BLOCK = 2**22

_aten = torch.ops.aten


def run_in_other_orders(model: nn.Module, inputs: Arrays) -> Iterator[Arrays]:
    """Yield what a float32 model gives for inputs (N, ...) by name, in each of some orders of its sums."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    for seed in range(ORDERS):
        with torch.no_grad(), OtherOrder(seed):
            outputs = run_in_batches(model, tensors, batch_size(inputs))
        yield {name: as_array(tensor) for name, tensor in outputs.items()}


class OtherOrder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds the terms of means, sums, normalizations, products of matrices and convolutions in an order of its own.

    Args:
        seed: Which order: 0 is the terms' own, in which most kernels add them, 1 is from the last to the first, and
            others are random. The first two matter by themselves: terms that lie side by side are much alike, so that
            their roundings are no independent ones.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed, self.random = seed, torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator."""
        is_plain = not kwargs and all(x.dtype == torch.float32 for x in args if isinstance(x, torch.Tensor))
        result = self._reordered(func, args) if is_plain else None
        return func(*args, **(kwargs or {})) if result is None else result

    def _reordered(self, func: Any, args: Any) -> torch.Tensor | tuple[torch.Tensor, ...] | None:
        """Return an operator's result; None where its sums are left as they are."""
        if func in (_aten.mean.dim, _aten.sum.dim_IntList) and args[1]:
            return self._reduce(args[0], args[1], keeps=len(args) > 2 and args[2], is_mean=func is _aten.mean.dim)
        if func is _aten.addmm.default:
            return self._with_bias(args[1][None], args[2][None], args[0].expand(1, 1, -1))[0]
        if func is _aten.mm.default:
            return self._product(args[0][None], args[1][None])[0]
        if func is _aten.bmm.default:
            return self._product(args[0], args[1])
        if func is _aten.native_layer_norm.default:
            return self._layer_norm(*args)
        if func is _aten.native_group_norm.default:
            return self._group_norm(*args)
        is_convolution = func is _aten.convolution.default and args[0].dim() == 4
        return self._convolve(*args) if is_convolution and not args[6] and args[8] == 1 else None

    def _reduce(self, x: torch.Tensor, dims: Sequence[int], keeps: bool, is_mean: bool) -> torch.Tensor:
        added = sorted(dim % x.dim() for dim in dims)
        others = [dim for dim in range(x.dim()) if dim not in added]
        shape = [1 if dim in added else x.shape[dim] for dim in range(x.dim()) if keeps or dim not in added]
        terms = x.permute(*added, *others).reshape(math.prod(x.shape[dim] for dim in added), -1)
        total = _add_in_a_row(terms[self._order(len(terms))].numpy())
        return torch.from_numpy(total).reshape(shape) / (len(terms) if is_mean else 1)

    def _layer_norm(self, x: torch.Tensor, shape: Sequence[int], *how: Any) -> tuple[torch.Tensor, ...]:
        weight, bias, eps = how
        dims = list(range(x.dim() - len(shape), x.dim()))
        normal, mean, scale = self._normalized(x, dims, eps)
        return _scaled(normal, weight, bias), mean, scale

    def _group_norm(self, x: torch.Tensor, *how: Any) -> tuple[torch.Tensor, ...]:
        weight, bias, count, channels, _places, groups, eps = how
        normal, mean, scale = self._normalized(x.reshape(count, groups, -1), [2], eps)
        own = (channels, *[1] * (x.dim() - 2))
        weight, bias = (None if one is None else one.reshape(own) for one in (weight, bias))
        return _scaled(normal.reshape(x.shape), weight, bias), mean.squeeze(2), scale.squeeze(2)

    def _normalized(self, x: torch.Tensor, dims: list[int], eps: float) -> tuple[torch.Tensor, ...]:
        """Return values with a mean of 0 and a variance of 1 along axes; the mean, and the factor."""
        mean = self._reduce(x, dims, keeps=True, is_mean=True)
        centered = x - mean
        scale = (self._reduce(centered * centered, dims, keeps=True, is_mean=True) + eps).rsqrt()
        return centered * scale, mean, scale

    def _with_bias(self, left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Multiply (B, M, K) and (B, K, N), and add (1, M or 1, N or 1)."""
        product = self._product(left, right)
        return self._product(left, right, bias) if self._starts_with(bias, product) else product + bias

    def _starts_with(self, bias: torch.Tensor | None, sums: torch.Tensor) -> bool:
        """Return whether a sum is tried that starts with its bias, as XNNPACK's do.

        Where the bias is the largest, each term that is added to it loses as much as the bias is rounded by, and a sum
        to which the bias comes last loses that once.
        """
        return self.seed == 0 and bias is not None and bool(bias.abs().max() > sums.abs().max())

    def _product(self, left: torch.Tensor, right: torch.Tensor, first: torch.Tensor | None = None) -> torch.Tensor:
        """Multiply (B, M, K) and (B, K, N); where there is a first term, the products are added to it one by one."""
        order = self._order(left.shape[2])
        left, right = left[:, :, order], right[:, order]
        is_short = left.shape[2] < MANY_TERMS and first is None
        if is_short or left.numel() * right.shape[2] > _MOST_PRODUCTS:
            return torch.matmul(left, right) if first is None else torch.matmul(left, right) + first
        columns, rows = left.permute(2, 0, 1)[..., None].numpy(), right.permute(1, 0, 2)[:, :, None].numpy()
        step = max(1, _BLOCK // (columns[0].size * rows.shape[-1]))
        total = np.zeros((left.shape[0], left.shape[1], right.shape[2]), np.float32)
        if first is not None:
            total += first.numpy()
        for start in range(0, len(columns), step):
            terms = columns[start : start + step] * rows[start : start + step]
            total = _add_in_a_row(np.concatenate([total[None], terms]).reshape(len(terms) + 1, -1)).reshape(total.shape)
        return torch.from_numpy(total)

    def _convolve(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *how: Any) -> torch.Tensor:
        stride, padding, dilation, *_ = how
        terms = weight[0].numel()
        order = self._order(x.shape[1])
        result = F.conv2d(x[:, order], weight[:, order], None, stride, padding, dilation)
        first = bias[None, :, None] if bias is not None and self._starts_with(bias, result) else None
        is_affordable = result[:, 0].numel() * weight.numel() <= _MOST_PRODUCTS
        if is_affordable and (terms >= MANY_TERMS or first is not None):
            patches = F.unfold(x, weight.shape[2:], dilation, padding, stride)
            result = self._product(weight.flatten(1)[None].expand(len(x), -1, -1), patches, first).reshape(result.shape)
            bias = None if first is not None else bias
        return result if bias is None else result + bias[:, None, None]

    def _order(self, count: int) -> torch.Tensor:
        if self.seed > 1:
            return torch.randperm(count, generator=self.random)
        return torch.arange(count).flip(0) if self.seed else torch.arange(count)


def _scaled(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _add_in_a_row(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over the first axis of (n, m), one term after the other."""
    columns = terms.shape[1]
    if columns == 1:  # NumPy would add a single column in blocks
        terms = np.repeat(terms, 2, axis=1)
    total: NDArray[np.float32] = np.add.reduce(np.ascontiguousarray(terms), axis=0)
    return total[:columns]
