"""Nets made programs of ExecuTorch by our own conversion alone: no proofs, nothing measured, no bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram

from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.executorch.lower import Quantization, lower
from mobilekit.convert.program.program import output_names, program_of
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.worker import Worker

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


class Kept(Worker):
    """A worker that several tests share: a `with` block neither starts nor ends it."""

    def __init__(self, own: Worker) -> None:
        self._own = own
        self._own.__enter__()
        self.folder = self._own.folder

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def ask(self, request: Any, seconds: float | None = None) -> Any:
        return self._own.ask(request, seconds)

    def end(self) -> None:
        self._own.__exit__(None, None, None)


class Lowered:
    """A net of one input as a .pte file.

    Args:
        model: The net.
        shape: Of the input, with the batch.
        folder: Where to write.
        dtype: Of the input, as the file takes it.
        in_forms: Whether steps are written as XNNPACK takes them.
        worker: Runs the file; a process of its own without.
        quantization: For a file of int8.
    """

    def __init__(
        self,
        model: nn.Module,
        shape: tuple[int, ...],
        folder: Path,
        dtype: str = "float32",
        in_forms: bool = True,
        worker: Worker | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        self.model, self.path, self.worker = model.eval(), folder / "net.pte", worker
        program, names = program_in_forms(model, shape, dtype) if in_forms else (plain(model, shape), ["output"])
        facts = {"inputs": ["input"], "outputs": names}
        self.outside = lower(program, self.path, folder, facts, quantization).outside

    def run(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return what the file gives, of one output."""
        (given,) = ExecuTorchRuntime(self.path, self.worker).run({"input": inputs}).values()
        return given

    def distance(self, inputs: NDArray[Any]) -> float:
        """Return the largest distance of the file's output from the net's in float64, over the largest output."""
        with torch.no_grad():
            exact = self.model.double()(torch.from_numpy(inputs).double()).numpy()
        self.model.float()
        return float(np.abs(self.run(inputs) - exact).max() / np.abs(exact).max())


def program_in_forms(
    model: nn.Module, shape: tuple[int, ...], dtype: str = "float32"
) -> tuple[ExportedProgram, list[str]]:
    """Return a net's program as an export writes it, and the names of its outputs."""
    graph, shapes = trace(model.eval(), {"input": torch.zeros(shape)}), {"input": shape}
    return program_of(graph, shapes, FORMS, ("input",) if dtype == "uint8" else ()), output_names(graph, shapes)


def plain(model: nn.Module, shape: tuple[int, ...]) -> ExportedProgram:
    """Return a net's program as torch writes it."""
    with torch.no_grad():
        return torch.export.export(model.eval(), (torch.zeros(shape),))
