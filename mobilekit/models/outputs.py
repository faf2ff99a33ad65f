"""Names for what a model returns: a tensor, or tuples, lists and dicts of tensors."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.inputs import Tensors, call


def named_outputs(result: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a model's result under names that stay the same from call to call.

    A single tensor is `logits` if it is (N, classes), else `output`. Members of a tuple or list are numbered, those of
    a dict or namedtuple keep their keys, and the names of nested ones are joined: `features_0`, `features_1`, `mask`.
    A member that is None is no output.

    A name has letters and digits of ASCII and underscores, as files need it, and begins with no digit; where two meet,
    as `p/3` and `p.3`, the later one gets a number: `p_3`, `p_3_1`.

    Raises:
        UsageError: Something in the result is no tensor.
    """
    if isinstance(result, torch.Tensor):
        return {"logits" if result.dim() == 2 else "output": result}
    found = list(_walk(result, ""))
    if not found:
        raise UsageError("The model returns no tensor.")
    return dict(zip(_apart([name for name, _ in found]), (tensor for _, tensor in found), strict=True))


def _walk(result: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(result, torch.Tensor):
        yield _plain(prefix), result
        return
    if isinstance(result, tuple) and hasattr(result, "_asdict"):  # a namedtuple
        result = result._asdict()
    if isinstance(result, Mapping):
        members = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, tuple | list):
        members = [(str(index), value) for index, value in enumerate(result)]
    elif result is None:
        return
    else:
        raise UsageError(
            f"The model's result has {type(result).__name__} at {prefix or 'its top'}, which is no tensor.",
            "Wrap the model so that it returns tensors, or tuples, lists and dicts of tensors.",
        )
    joiner = f"{prefix}_" if prefix else ("" if isinstance(result, Mapping) else "output_")
    for key, value in members:
        yield from _walk(value, f"{joiner}{key}")


def _plain(name: str) -> str:
    """Return a name in letters, digits and underscores, without accents."""
    letters = (letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    plain = re.sub(r"\W", "_", "".join(letters), flags=re.ASCII)
    return plain if re.match(r"[^\W\d]", plain) else f"output_{plain}".rstrip("_")


def _apart(names: list[str]) -> list[str]:
    """Return names of which no two are the same: the second of two gets a number."""
    apart: list[str] = []
    for place, name in enumerate(names):
        others = {*apart, *names[place + 1 :]} if name in apart else set()
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        apart.append(next(one for one in numbered if one not in others) if others else name)
    return apart


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
    """Return whether a model that is given several images gives an output for each of them, along the first axis.

    One that was written for one image may well run for two, and join them. A graph knows it (`meta["one_size"]`); of
    another model one image and two are tried, once.

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
        _TAKES_BATCHES[model] = names is not None and rows_given(model, twice) == names
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
