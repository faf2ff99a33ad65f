"""The order in which the files of a round run."""

from __future__ import annotations

import random


def order_of_round(count: int, index: int, seed: int) -> list[int]:
    """Return the order of one round; it does not depend on how many rounds there will be.

    Rounds come in blocks of `count`. In a block each file has each place once, so a device that warms up within a round
    favors none. In an even block and the odd one after it, each file also follows each other file twice, so none
    always runs in the heat that the same neighbor left. Which file is which in this scheme, and the order of the rows,
    are drawn anew for every two blocks.

    Source: E. J. Williams, Experimental designs balanced for the estimation of residual effects of treatments, 1949.

    Args:
        count: Number of files.
        index: Number of the round, from 0.
        seed: Any integer; the same gives the same orders.

    Raises:
        ValueError: There are no files, or the round is negative.
    """
    if count < 1 or index < 0:
        raise ValueError(f"no order for round {index} of {count} files")
    pair, place = divmod(index, 2 * count)
    draw = random.Random(f"{seed}/{pair}")  # noqa: S311  (it protects nothing)
    names, *blocks = (draw.sample(range(count), count) for _ in range(3))
    mirrored, row = divmod(place, count)
    zigzag = [step // 2 if step % 2 == 0 else count - 1 - step // 2 for step in range(count)]
    order = [names[(step + blocks[mirrored][row]) % count] for step in zigzag]
    return order[::-1] if mirrored else order
