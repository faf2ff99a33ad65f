"""Names for what a model returns: a tensor, or tuples, lists and dicts of tensors."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from mobilekit.errors import UsageError


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
