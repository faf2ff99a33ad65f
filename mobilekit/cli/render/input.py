"""What a model sees of a picture, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from mobilekit.cli.render.format import figure
from mobilekit.jobs.likeness import RECIPE, SAME, Likeness
from mobilekit.jobs.see_input import SeenInput

_NEXT = 3  # ways that are shown


def input_lines(seen: SeenInput, written: Path | None = None) -> Iterator[RenderableType]:
    """Yield what the picture is, how the input is made of it, the figures of its channels, and what a tensor is like.

    Args:
        seen: What is shown.
        written: Where the picture is that the model sees.
    """
    yield f"{seen.picture}: {seen.size[0]}x{seen.size[1]} (HEIGHTxWIDTH), mode {seen.mode}"
    yield from seen.notes
    by = "as the recipe says" if seen.app == RECIPE else f"as app-{seen.app} does"
    yield f"Made {by}: {', '.join(f'{key} {_words(value)}' for key, value in seen.input.items())}"
    yield f"{seen.name}: {seen.dtype}, {'x'.join(map(str, seen.shape))} (NCHW; TFLite files take NHWC)"
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("channel", "min", "max", "mean"):
        table.add_column(column, justify="left" if column == "channel" else "right")
    for each in seen.channels:
        table.add_row(each.name, *(figure(value, ".4f") for value in (each.min, each.max, each.mean)))
    yield table
    yield from _likeness_lines(seen.made_like)
    if written:
        yield f"{written} is what the model sees."


def _words(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _likeness_lines(found: Sequence[Likeness]) -> Iterator[str]:
    """Yield how a tensor was made, and else the nearest ways."""
    if not found:
        return
    first = found[0]
    if first.mean_levels <= SAME:
        yield f"The tensor is made {_way(first)}: {_apart(first)}."
        return
    yield "The tensor is made in no way that is known: it may be of another picture, another crop or another size."
    yield "Nearest, in levels of 255:"
    yield from (f"  {_way(each)}: {_apart(each)}" for each in found[:_NEXT])


def _way(like: Likeness) -> str:
    named = ", ".join(each for each in like.ways if each != RECIPE)
    if RECIPE in like.ways:
        return "as the recipe says" + (f" (and {named} do)" if named else "")
    return f"as {named}" + (f" ({like.what})" if like.what else "")


def _apart(like: Likeness) -> str:
    return f"{figure(like.mean_levels, '.2f')} levels off on average, {figure(like.max_levels, '.0f')} at most"
