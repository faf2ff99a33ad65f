"""What the plugin wrote, read: the segments of each inference, and the pieces of code that ran in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mobilekit.errors import ToolError
from mobilekit.store.jsonable import Jsonable


@dataclass(frozen=True)
class CacheMisses(Jsonable):
    """Lines of 64 bytes that simulated caches of data did not have when they were asked for."""

    first: int
    second: int

    def __add__(self, other: CacheMisses) -> CacheMisses:
        return CacheMisses(self.first + other.first, self.second + other.second)


@dataclass(frozen=True)
class Segment:
    """What ran between two stops."""

    stop: int
    """Number of the stop at which it began; -1 where the inference did."""
    runs: Mapping[int, int]
    """How often each piece ran."""
    misses: CacheMisses | None = None
    """Where caches were simulated."""


@dataclass(frozen=True)
class Piece:
    """Instructions that run one after another."""

    address: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class Record:
    """All inferences that were counted."""

    inferences: tuple[tuple[Segment, ...], ...]
    pieces: Mapping[int, Piece]


def parse_record(lines: Sequence[str]) -> Record:
    """Read the plugin's lines (see `plugin/count.c`).

    Raises:
        ToolError: They are not whole, or not the plugin's.
    """
    try:
        if not lines or lines[-1] != "done":
            raise ValueError("its end is missing")
        return Record(tuple(_inferences(lines)), dict(_pieces(lines)))
    except (ValueError, IndexError) as error:
        raise ToolError(f"What was counted cannot be read: {error}.", "Count again.") from error


def _inferences(lines: Sequence[str]) -> Iterator[tuple[Segment, ...]]:
    segments: list[Segment] = []
    for line in lines:
        kind, *words = line.split()
        if kind == "begin":
            segments = []
        elif kind == "segment":
            stop, *numbers = map(int, words)
            segments.append(Segment(stop, dict(zip(numbers[::2], numbers[1::2], strict=True))))
        elif kind == "misses":
            segments[-1] = replace(segments[-1], misses=CacheMisses(int(words[0]), int(words[1])))
        elif kind == "end":
            yield tuple(segments)


def _pieces(lines: Sequence[str]) -> Iterator[tuple[int, Piece]]:
    for line in lines:
        kind, *words = line.split()
        if kind == "piece":
            yield int(words[0]), Piece(int(words[1], 16), tuple(int(word, 16) for word in words[2:]))
