"""Names for what a model returns: a tensor, or tuples, lists and dicts of tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.inputs import Tensors, call


def named_outputs(result: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a model's result under names that stay the same from call to call.

    A single tensor is `logits` if it is (N, classes), else `output`. Members of a tuple or list are numbered, those of
    a dict keep their keys, and the names of nested ones are joined: `features_0`, `features_1`, `mask`.

    Raises:
        UsageError: Something in the result is no tensor.
    """
    if isinstance(result, torch.Tensor):
        return {"logits" if result.dim() == 2 else "output": result}
    named = dict(_walk(result, ""))
    if not named:
        raise UsageError("The model returns no tensor.")
    return named


def _walk(result: Any, prefix: str) -> list[tuple[str, torch.Tensor]]:
    if isinstance(result, torch.Tensor):
        return [(re.sub(r"\W", "_", prefix), result)]
    if isinstance(result, Mapping):
        members = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, tuple | list):
        fields = getattr(result, "_fields", None) or [str(index) for index in range(len(result))]
        members = list(zip(fields, result, strict=True))
    else:
        raise UsageError(
            f"The model's result has {type(result).__name__} at {prefix or 'its top'}, which is no tensor.",
            "Wrap the model so that it returns tensors, or tuples, lists and dicts of tensors.",
        )
    joiner = f"{prefix}_" if prefix else ("" if isinstance(result, Mapping) else "output_")
    return [pair for key, value in members for pair in _walk(value, f"{joiner}{key}")]


def run_in_batches(model: nn.Module, inputs: Tensors, size: int) -> Tensors:
    """Run a model on inputs (N, ...) by name, at most `size` of each at once, and return its named outputs.

    A graph that takes one image alone (`model.meta["one_size"]`) gets one at a time.
    """
    if getattr(model, "meta", {}).get("one_size"):
        size = 1
    parts = zip(*(torch.split(tensor, size) for tensor in inputs.values()), strict=True)
    rows = [named_outputs(call(model, dict(zip(inputs, batch, strict=True)))) for batch in parts]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
