"""Nets made programs of ExecuTorch by our own conversion alone: no proofs, nothing measured, no bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.convert.executorch.lower import lower
from mobilekit.convert.executorch.program import output_names, program_of
from mobilekit.rewrites.fx.graph import trace

TWO_PARTS = Path(__file__).parent / "data" / "two_parts.pte"
"""What ExecuTorch 1.5.1 makes of `TwoParts` without our forms: 5 KB."""


class TwoParts(nn.Module):
    """Two convolutions with a nearest upsampling between them, which XNNPACK's partitioner leaves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.up, self.last = nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(self.first(x)))


class Lowered:
    """A net of one input as a .pte file.

    Args:
        model: The net.
        shape: Of the input, with the batch.
        folder: Where to write.
        dtype: Of the input, as the file takes it.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...], folder: Path, dtype: str = "float32") -> None:
        self.model, self.path, shapes = model.eval(), folder / "net.pte", {"input": shape}
        graph = trace(self.model, {"input": torch.zeros(shape)})
        program = program_of(graph, shapes, ("input",) if dtype == "uint8" else ())
        facts = {"inputs": ["input"], "outputs": output_names(graph, shapes)}
        self.outside = lower(program, self.path, folder, facts)

    def run(self, inputs: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Return what the file gives."""
        return ExecuTorchRuntime(self.path).run({"input": inputs})

    def distance(self, inputs: NDArray[Any]) -> float:
        """Return the largest distance of the file's outputs from the net's in float64, over the largest output."""
        with torch.no_grad():
            exact = self.model.double()(torch.from_numpy(inputs).double()).numpy()
        self.model.float()
        (given,) = self.run(inputs).values()
        return float(np.abs(given - exact).max() / np.abs(exact).max())
