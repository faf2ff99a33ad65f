"""PyTorch modules as a runtime."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mobilekit.models.outputs import named_outputs
from mobilekit.runtimes.base import Arrays, Runtime

_VALUES_A_BATCH = 2**20


class TorchRuntime(Runtime):
    """Runs a module in evaluation mode on the CPU, in batches of a few large or many small images."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.dtype = next(model.parameters()).dtype

    def run(self, inputs: Arrays) -> Arrays:
        """Run the module; see `Runtime.run`. A float64 module computes in float64 and its result is rounded last."""
        largest = max(array[0].size for array in inputs.values())
        size = max(1, _VALUES_A_BATCH // largest)
        tensors = [torch.from_numpy(array).to(self.dtype) for array in inputs.values()]
        rows = []
        with torch.inference_mode():
            for start in range(0, len(tensors[0]), size):
                rows.append(named_outputs(self.model(*(tensor[start : start + size] for tensor in tensors))))
        return {name: torch.cat([row[name] for row in rows]).numpy().astype(np.float32) for name in rows[0]}
