"""PyTorch modules as a runtime."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.models.batches import run_in_batches
from mobilekit.models.depthwise import FastDepthwise

_VALUES_A_BATCH = 2**20


def batch_size(inputs: Arrays) -> int:
    """Return how many of inputs (N, ...) to run at once."""
    return max(1, _VALUES_A_BATCH // sum(math.prod(array.shape[1:]) for array in inputs.values()))


class TorchRuntime(Runtime):
    """Runs a module in evaluation mode on the CPU, in batches of a few large or many small images."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        state = (*model.parameters(), *model.buffers())
        self.dtype = next((tensor.dtype for tensor in state if tensor.is_floating_point()), torch.float32)

    def _run(self, inputs: Arrays) -> Arrays:
        """Run the module. A float64 module computes in float64 and its result is rounded last."""
        tensors = {name: torch.from_numpy(array).to(self.dtype) for name, array in inputs.items()}
        # It sees each function that is called, and has something to do in float64 alone.
        depthwise = FastDepthwise() if self.dtype == torch.float64 else nullcontext()
        with torch.inference_mode(), depthwise:
            outputs = run_in_batches(self.model, tensors, batch_size(inputs))
        return {name: as_array(tensor) for name, tensor in outputs.items()}


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return an output as runtimes give it: float32, or int64 where it has labels."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else torch.int64).numpy()
