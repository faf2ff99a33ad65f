"""Which part of a frame becomes the network's picture, in fractions of pixels.

`preprocess` cuts pictures of any shape to the pixel as torchvision does: it scales the shorter side to a whole number
of pixels, and the longer one to a whole number near it, by another factor. Inside a file both have the shorter side's
factor; of a square frame the part is the same.
"""

from __future__ import annotations

import math
from fractions import Fraction

MOST_PHASES = 16
"""The q of a factor p/q: a pass multiplies each pixel by q filters of p and more weights, most of which are 0."""
_DIGITS = 4
"""Of a crop: enough to tell each length of a resized side below 4096 from the next."""

Part = tuple[Fraction, Fraction]
"""Of rows or columns: the pixel at which it begins, and how many become one."""


def parts_of(frame: tuple[int, int], sides: tuple[int, int], resized_side: int, mode: str) -> tuple[Part, Part]:
    """Return the part of a frame's rows and of its columns.

    Args:
        frame: Height and width.
        sides: Height and width of what is made.
        resized_side: Length to which the shorter side of the largest part is resized before the crop.
        mode: `crop` or `stretch`, of `resize`.
    """
    share = Fraction(min(sides), resized_side)
    steps = [length * share / count for length, count in zip(frame, sides, strict=True)]
    if mode == "crop":
        steps = [min(steps)] * 2
    parts = []
    for length, count, step in zip(frame, sides, steps, strict=True):
        start = (length - count * step) / 2
        if mode == "crop" and sides[0] == sides[1]:
            start = round((resized_side * length // min(frame) - count) / 2) * step
        parts.append((start, step))
    return parts[0], parts[1]


def refusal_of(frame: tuple[int, int], sides: tuple[int, int], resized_side: int, mode: str) -> str | None:
    """Return why a frame cannot be scaled inside a file, with a crop and a frame that can; None where it can.

    Args:
        frame: As `parts_of` takes it.
        sides: Likewise.
        resized_side: Likewise.
        mode: Likewise.
    """
    steps = _steps(frame, sides, resized_side, mode)
    words = "{}x{}".format(*frame)
    if min(steps) < 1:
        least = [math.ceil(Fraction(side * resized_side, min(sides))) for side in sides]
        return f"the frame {words} is smaller than the crop, which needs {{}}x{{}} or more".format(*least)
    if _phases(steps) <= MOST_PHASES:
        return None
    factors = " and ".join(map(str, dict.fromkeys(steps)))
    told = f"the frame {words} is scaled by {factors}, which takes {_phases(steps)} filters, and {MOST_PHASES} are most"
    ways = [
        way
        for way in (
            next(
                filter(None, (_crop_near(frame, sides, resized_side, by, mode) for by in range(1, resized_side))), None
            ),
            next(
                filter(None, (_frame_near(frame, by, sides, resized_side, mode) for by in range(1, max(frame)))), None
            ),
        )
        if way
    ]
    return f"{told}; {', or '.join(ways)} would do" if ways else told


def _steps(frame: tuple[int, int], sides: tuple[int, int], resized_side: int, mode: str) -> list[Fraction]:
    return [step for _start, step in parts_of(frame, sides, resized_side, mode)]


def _phases(steps: list[Fraction]) -> int:
    return math.lcm(*(step.denominator for step in steps))


def _scales(steps: list[Fraction]) -> bool:
    """Return whether files can scale by these factors, and do: who asks for a frame wants no cut-out."""
    return min(steps) > 1 and _phases(steps) <= MOST_PHASES


def _crop_near(frame: tuple[int, int], sides: tuple[int, int], resized_side: int, by: int, mode: str) -> str | None:
    """Return a crop of which the frame is scaled by a simpler factor, so many pixels of the resized side away."""
    for tried in (resized_side - by, resized_side + by):
        if tried >= min(sides) and _scales(_steps(frame, sides, tried, mode)):
            return f"crop {round(min(sides) / tried, _DIGITS):g}"
    return None


def _frame_near(frame: tuple[int, int], by: int, sides: tuple[int, int], resized_side: int, mode: str) -> str | None:
    """Return a frame that is scaled by a simpler factor, its shorter side or both so many pixels smaller.

    A camera has its sizes, and an app can cut a smaller frame out of one.
    """
    height, width = frame
    for tried in ((height - by, width - by), (height - by, width), (height, width - by)):
        if min(tried) >= 1 and _scales(_steps(tried, sides, resized_side, mode)):
            return "{}x{} of its center".format(*tried)
    return None
