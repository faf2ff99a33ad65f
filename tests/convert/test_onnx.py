"""What torch's exporter must not be given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.inputs import Shapes, zeros
from mobilekit.rewrites.fx.graph import trace


def test_an_input_without_effect_is_refused(tmp_path: Path) -> None:
    from mobilekit.convert.onnx import write_onnx

    class Deaf(nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * mask.shape[2]

    shapes: Shapes = {"input": (1, 3, 8, 8), "mask": (1, 1, 8, 8)}
    with pytest.raises(UsageError, match="do not depend on its input mask"):
        write_onnx(trace(Deaf(), zeros(shapes)), shapes, tmp_path / "a.onnx")
