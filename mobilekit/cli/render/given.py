"""What an export is given and what it assumes, in at most 8 lines."""

from __future__ import annotations

from collections.abc import Iterable

from mobilekit.cli.render.format import indented
from mobilekit.store.manifest import OPTION, Given


def given_block(model: str, given: Iterable[Given]) -> list[str]:
    """Return a line for the model, and one for each thing that decides what its export means, with what sets it."""
    lines = [line for each in given for line in indented(each.what, [_line(each)])]
    return [*indented("model", [model]), *lines]


def _line(each: Given) -> str:
    if each.origin == OPTION:
        return f"{each.value} ({each.option})"
    return f"{each.value} ({each.origin}; set it by {each.option})"
