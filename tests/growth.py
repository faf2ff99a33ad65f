"""How the cost of reading a text grows with its length: told by doubling, on whatever machine this is."""

from __future__ import annotations

import time
from collections.abc import Callable

# Four times the length costs four times as much where cost is linear, sixteen times where it is quadratic.
QUADRATIC = 10.0


def growth(read: Callable[[str], object], piece: str, count: int) -> float:
    """Return how many times as long `read` takes for four times the text: the least of three turns of each length.

    Args:
        read: What reads the text.
        piece: It is repeated.
        count: Of pieces in the short text; what is linear should take some milliseconds.
    """
    least = {1: float("inf"), 4: float("inf")}
    for factor in (1, 4) * 3:
        text = piece * (count * factor)
        start = time.process_time()
        read(text)
        least[factor] = min(least[factor], time.process_time() - start)
    return least[4] / max(least[1], 1e-3)  # a clock's own steps are no growth
