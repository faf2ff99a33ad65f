"""The order of the files in a round."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.schedule import order_of_round

COUNTS = st.integers(1, 9)
SEEDS = st.integers(-(2**40), 2**40)


def orders(count: int, rounds: int, seed: int) -> list[list[int]]:
    """Return the order of each of the first rounds."""
    return [order_of_round(count, index, seed) for index in range(rounds)]


@given(COUNTS, st.integers(0, 40), SEEDS)
def test_every_round_runs_each_file_once(count: int, rounds: int, seed: int) -> None:
    assert [sorted(order) for order in orders(count, rounds, seed)] == [list(range(count))] * rounds


@given(COUNTS, st.integers(0, 5), SEEDS)
def test_each_file_has_each_place_once_in_a_block(count: int, block: int, seed: int) -> None:
    rows = [order_of_round(count, block * count + row, seed) for row in range(count)]
    for place in range(count):
        assert sorted(row[place] for row in rows) == list(range(count))


@given(COUNTS, SEEDS)
def test_each_file_follows_each_other_twice_in_two_blocks(count: int, seed: int) -> None:
    followed = Counter(pair for order in orders(count, 2 * count, seed) for pair in pairwise(order))
    assert followed == {(a, b): 2 for a in range(count) for b in range(count) if a != b}


@given(COUNTS, st.integers(0, 30), st.integers(0, 30), SEEDS)
def test_more_rounds_do_not_change_the_first(count: int, rounds: int, more: int, seed: int) -> None:
    assert orders(count, rounds + more, seed)[:rounds] == orders(count, rounds, seed)


def test_seeds_and_blocks_draw_other_orders() -> None:
    assert len({str(orders(4, 8, seed)) for seed in range(20)}) == 20
    assert len({str(orders(4, 80, 0)[start : start + 8]) for start in range(0, 80, 8)}) == 10


def test_which_file_is_first_is_even_over_seeds() -> None:
    """A fair draw gives each of 5 files 400 of 2000 first places, with a standard deviation of 18."""
    first = Counter(order_of_round(5, 0, seed)[0] for seed in range(2000))
    assert sorted(first) == [0, 1, 2, 3, 4]
    assert max(abs(count - 400) for count in first.values()) < 4 * 18


@pytest.mark.parametrize(("count", "index"), [(0, 0), (-1, 0), (2, -1)])
def test_no_files_or_a_negative_round_are_refused(count: int, index: int) -> None:
    with pytest.raises(ValueError, match="no order"):
        order_of_round(count, index, 0)
