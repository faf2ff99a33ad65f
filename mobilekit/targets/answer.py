"""What a target says of a file, and what a target is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mobilekit.errors import MobilekitError
from mobilekit.store.jsonable import Jsonable


@dataclass(frozen=True)
class Refusal(Jsonable):
    """Ops of one kind that a target leaves to the processor, or computes wrongly, for one reason."""

    op: str
    """Their kind, as the format names it."""
    count: int
    words: str
    """The compiler's own, or what is known of it."""
    modules: tuple[str, ...] = ()
    """Paths of their modules in the PyTorch model, where these are known."""
    help: str = ""
    """What makes such an op another one: a setting of the recipe, or a rewrite."""


@dataclass(frozen=True)
class Answer(Jsonable):
    """What a target takes of a file."""

    target: str
    file: str
    """Its name."""
    taken: int
    """How many ops it takes, ..."""
    total: int
    """... and of how many."""
    partitions: int | None
    """Parts of the graph that it runs; None where its compiler does not tell."""
    refused: tuple[Refusal, ...]
    asked: str
    """Who answered, with version and device."""
    by: Literal["compiler", "table"] = "compiler"
    """Whether the target's own compiler was asked, or a table stands for it."""
    wrong: tuple[Refusal, ...] = ()
    """Ops that it takes, and is known to compute wrongly."""

    @property
    def is_whole(self) -> bool:
        """Whether the target runs all of it, in one part."""
        return self.taken == self.total and self.partitions in (None, 1) and not self.refused

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON data, with `whole`: whether it is whole and nothing is computed wrongly."""
        return {**super().to_json(), "whole": self.is_whole and not self.wrong}


class Target(ABC):
    """A processor with the runtime that serves it.

    Args:
        name: As users write it, such as `qnn:SM8650`.
    """

    suffix: str
    """Of the files that it runs."""
    reads: str
    """Which files those are, in words."""

    def __init__(self, name: str) -> None:
        self.name = name

    def takes(self, path: Path) -> bool:
        """Return whether it is a file for this target, by its name."""
        return path.suffix == self.suffix

    @abstractmethod
    def why_not(self) -> MobilekitError | None:
        """Return what keeps it from being asked, and what to install; None where it can be."""

    @abstractmethod
    def ask(self, path: Path) -> Answer:
        """Return what it takes of a file.

        Raises:
            ToolError: Its compiler failed, or is not there.
            UsageError: It is no file that it could read.
        """


def counted(found: Iterable[tuple[str, str, str | None]]) -> tuple[Refusal, ...]:
    """Return refusals by kind and reason, the most frequent first.

    Args:
        found: Of each refused op its kind, the reason, and its module where that is known.
    """
    found = list(found)
    counts = Counter((op, words) for op, words, _module in found)
    modules: dict[tuple[str, str], dict[str, None]] = {}
    for op, words, module in found:
        if module:
            modules.setdefault((op, words), {})[module] = None
    return tuple(
        Refusal(op, count, words, tuple(modules.get((op, words), ()))) for (op, words), count in counts.most_common()
    )
