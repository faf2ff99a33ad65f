"""A softmax behind a model that gives logits, for whoever reads scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from mobilekit.errors import UsageError

Activation = Literal["softmax"]
PROBABILITIES = "probabilities"
"""What the output is called."""


def activate_outputs(model: nn.Module, activation: Activation | None) -> nn.Module:
    """Let a classifier give the softmax of its logits, and return it; its modules, paths and state stay.

    Args:
        model: Returns one tensor of floats (N, classes, ...); it is changed.
        activation: Along the classes; without one the model stays as it is.

    Raises:
        UsageError: At its first run: it returns something else.
    """
    if activation is None:
        return model

    def behind(_model: nn.Module, _given: Any, result: Any) -> dict[str, torch.Tensor]:
        return {PROBABILITIES: functional.softmax(_logits(result), dim=1)}

    model.register_forward_hook(behind)
    return model


def _logits(result: Any) -> torch.Tensor:
    """Return a model's one output, which may be in a dict or a tuple."""
    members = list(result.values()) if isinstance(result, Mapping) else result
    (logits,) = members if isinstance(members, list | tuple) and len(members) == 1 else [members]
    if not isinstance(logits, torch.Tensor) or logits.dim() < 2 or not logits.is_floating_point():
        raise UsageError(
            "`output: {activation: softmax}` is for models that return one tensor of logits, a row for each input.",
            "Leave it out, or compute the softmax in the model.",
        )
    return logits
