"""Models on several images at once: whether each has a row of its own in the outputs, and what none but it changes."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.inputs import Tensors, call
from mobilekit.models.outputs import named_outputs


def run_in_batches(model: nn.Module, inputs: Tensors, size: int) -> Tensors:
    """Run a model on inputs (N, ...) by name, at most `size` of each at once, and return its named outputs (N, ...).

    A model that takes one image alone gets one at a time; see `takes_batches`.
    """
    if size > 1 and not takes_batches(model, inputs):
        size = 1
    parts = zip(*(torch.split(tensor, size) for tensor in inputs.values()), strict=True)
    rows = [named_outputs(call(model, dict(zip(inputs, batch, strict=True)))) for batch in parts]
    if size == 1:
        rows = [{name: as_row(tensor) for name, tensor in row.items()} for row in rows]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def as_row(tensor: torch.Tensor) -> torch.Tensor:
    """Return what a model gave for one image as a row of what it gives for several: (1, ...)."""
    return tensor if tensor.dim() and len(tensor) == 1 else tensor[None]


_MIXED = 1e-2
"""Relative L2, or share of labels, by which an image's result changes beside others: by rounding it changes by 1e-6."""
_TAKES_BATCHES: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def check_batch(model: nn.Module, name: str, size: int) -> None:
    """Refuse a batch of several for a traced model that takes one input alone.

    Args:
        model: The graph.
        name: What the user calls it.
        size: The batch.

    Raises:
        UsageError: It is such a model.
    """
    if size > 1 and not takes_batches(model, {}):
        raise UsageError(
            f"{name} takes one input at a time, so files cannot take a batch of {size}.",
            "Its forward writes 1 into a shape, or joins its inputs: write the batch as x.shape[0], or -1.",
        )


def takes_batches(model: nn.Module, inputs: Tensors) -> bool:
    """Return whether a model gives for each of several images, along the first axis, what it gives for it alone.

    One that was written for one image may well run for two, and join or mix them. A graph knows it
    (`meta["one_size"]`); of another model it is tried, once.

    Args:
        model: In evaluation mode.
        inputs: Some that it takes, (N, ...) by name.
    """
    meta = getattr(model, "meta", None)
    if isinstance(meta, dict) and "one_size" in meta:
        return not meta["one_size"]
    if model not in _TAKES_BATCHES:
        one = {name: tensor[:1] for name, tensor in inputs.items()}
        names = rows_given(model, one)
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in one.items()}
        is_free = names is not None and rows_given(model, twice) == names
        _TAKES_BATCHES[model] = is_free and not mixes_rows(model, one)
    return _TAKES_BATCHES[model]


def rows_given(model: nn.Module, inputs: Tensors) -> list[str] | None:
    """Return the names of a model's outputs, where each has a row for each of the inputs (N, ...); else None."""
    try:
        with torch.no_grad():
            outputs = named_outputs(call(model, inputs))
    except Exception:  # of any kind; an image by itself tells again what is wrong with the model
        return None
    count = len(next(iter(inputs.values())))
    return list(outputs) if all(tensor.dim() and len(tensor) == count for tensor in outputs.values()) else None


def mixes_rows(model: nn.Module, inputs: Tensors) -> bool:
    """Return whether what a model gives for an image depends on those beside it, or it takes no three images.

    A map divided by its largest value may depend on them, or a convolution by weights that the first image mixes. An
    image of random numbers is run alone, and between two of another.

    Args:
        model: In evaluation mode. It gives a row for one image.
        inputs: One that it takes, (1, ...) by name.
    """
    generator = torch.Generator().manual_seed(0)
    image = {
        name: torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in inputs.items()
    }
    others = {name: 0.5 - 2 * tensor if tensor.is_floating_point() else tensor for name, tensor in image.items()}
    between = {name: torch.cat([others[name], tensor, others[name]]) for name, tensor in image.items()}
    try:
        with torch.no_grad():
            alone, beside = (named_outputs(call(model, given)) for given in (image, between))
        return any(_differ(alone[name][0], beside[name][1]) for name in alone)
    except Exception:  # of any kind; an image by itself tells again what is wrong with the model
        return True


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two results are not the same but for rounding."""
    if not one.is_floating_point():
        return float((one != other).double().mean()) > _MIXED
    one, other = one.nan_to_num(), other.nan_to_num()
    return float((one - other).norm()) > _MIXED * float(one.norm())
