"""PyTorch modules as a runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from mobilekit.runtimes.base import Arrays, Runtime

_VALUES_A_BATCH = 2**20


class TorchRuntime(Runtime):
    """Runs a module in evaluation mode on the CPU, in batches of a few large or many small images."""

    def __init__(
        self, model: nn.Module, input_names: Sequence[str] = ("input",), output_names: Sequence[str] = ("logits",)
    ) -> None:
        self.model = model
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)
        self.dtype = next(model.parameters()).dtype

    def run(self, inputs: Arrays) -> Arrays:
        """Run the module; see `Runtime.run`. A float64 module computes in float64 and its result is rounded last."""
        largest = max(array[0].size for array in inputs.values())
        size = max(1, _VALUES_A_BATCH // largest)
        tensors = [torch.from_numpy(inputs[name]).to(self.dtype) for name in self.input_names]
        rows = []
        with torch.inference_mode():
            for start in range(0, len(tensors[0]), size):
                out = self.model(*(tensor[start : start + size] for tensor in tensors))
                rows.append([out] if isinstance(out, torch.Tensor) else list(out))
        columns = [torch.cat(column).numpy() for column in zip(*rows, strict=True)]
        return {name: column.astype(np.float32) for name, column in zip(self.output_names, columns, strict=True)}
