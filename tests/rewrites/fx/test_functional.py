"""Casts to float do not keep a model from float64."""

from __future__ import annotations

import torch
from torch import nn

from mobilekit.rewrites.fx.graph import trace


class Casting(nn.Module):
    """Does its attention in float32 whatever it gets, as timm's EfficientViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        y = y.float().softmax(1).to(y.dtype)
        positions = torch.arange(4).float().view(1, 4, 1, 1)
        out: torch.Tensor = y * positions + (x > 0).float().mean()
        return out


def test_casts_to_float_do_not_keep_a_model_from_float64() -> None:
    model = Casting()
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    graph = trace(model, {"input": x})
    with torch.no_grad():
        assert torch.equal(graph(x), model(x))
        wide = graph.double()(x.double())
        assert wide.dtype == torch.float64
        assert torch.allclose(wide.float(), model(x), atol=1e-6)
