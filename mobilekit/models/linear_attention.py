"""ReLU linear attention: attention without softmax, whose cost grows with the number of tokens, not with its square.

Source: EfficientViT, arXiv 2205.14756, all versions.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-5


class ReLULinearAttention(nn.Module):
    """Attention with similarity ReLU(q)·ReLU(k), on queries, keys and values of shape (..., dim, tokens).

    With q and k after ReLU, output t is sum_s v_s (k_s·q_t) / sum_s (k_s·q_t). Neither sum over s needs t before its
    last product, so both are taken once: V K^T is (dim, dim), and the sum of K over the tokens (1, dim). Both products
    with V then take dim^2 multiplications a token, where V (K^T Q) takes dim x tokens for each.

    Args:
        eps: Added to the denominator, which is 0 where ReLU leaves nothing of a query (the output is 0 there too).
            timm has 1e-5, the default here; the authors' code has 1e-15, which is 0 in float16, and then 0 / 0 is NaN.
            In float32 the two give the same outputs to some 1e-5 with the same weights.
    """

    def __init__(self, eps: float = EPS) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"eps is {eps}, not positive")
        self.eps = eps

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return what each query sees of the values: (..., dim, tokens)."""
        query, key = F.relu(query), F.relu(key)
        context = value @ key.transpose(-1, -2)
        total = key.sum(-1).unsqueeze(-2)
        return (context @ query) / (total @ query + self.eps)
