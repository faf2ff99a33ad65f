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
    """Return why a frame cannot be scaled inside a file, with one that can; None where it can.

    Args:
        frame: As `parts_of` takes it.
        sides: Likewise.
        resized_side: Likewise.
        mode: Likewise.
    """
    steps = [step for _start, step in parts_of(frame, sides, resized_side, mode)]
    words = "{}x{}".format(*frame)
    if min(steps) < 1:
        least = [math.ceil(Fraction(side * resized_side, min(sides))) for side in sides]
        return f"the frame {words} is smaller than the crop, which needs {{}}x{{}} or more".format(*least)
    if _phases(steps) <= MOST_PHASES:
        return None
    factors = " and ".join(map(str, dict.fromkeys(steps)))
    told = f"the frame {words} is scaled by {factors}, which takes {_phases(steps)} filters, and {MOST_PHASES} are most"
    near = next(filter(None, (_fitting(frame, by, sides, resized_side, mode) for by in range(1, max(frame)))), None)
    return f"{told}; {near} would do" if near else told


def _phases(steps: list[Fraction]) -> int:
    return math.lcm(*(step.denominator for step in steps))


def _fitting(frame: tuple[int, int], by: int, sides: tuple[int, int], resized_side: int, mode: str) -> str | None:
    """Return a frame that is scaled by a simpler factor, its shorter side or both so many pixels smaller or larger."""
    height, width = frame
    for change in (-by, by):
        for tried in ((height + change, width + change), (height + change, width), (height, width + change)):
            if min(tried) < 1:
                continue
            steps = [step for _start, step in parts_of(tried, sides, resized_side, mode)]
            if min(steps) >= 1 and _phases(steps) <= MOST_PHASES:
                return "{}x{}".format(*tried)
    return None
