"""What the task's own measure promises: classes that stay the first, whatever changes within reach."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import StableShare
from mobilekit.parity.ledger.task import k_for, stable_share, topk_agreement


def test_what_cannot_be_overtaken_is_certain() -> None:
    outputs = np.float32([[9, 5, 0, 0], [5, 4, 0, 0], [3, 2, 1, 0]])
    change = np.float32([[1, -1, 0, 0], [0, 0, 0, 0], [0.5, -0.5, 0, 0]])  # differences change by up to 2, 0 and 1
    got = stable_share(outputs, [(1, outputs, outputs + change)], 2, np.array([0, 0, 0]))
    # The second input is taken to change as the mean one: by 1, which is all of its lead. So is the third's.
    assert got == StableShare(top1=1 / 3, topk=5 / 6, top1_correct=1 / 3)
    twice = stable_share(outputs, [(1, outputs, outputs), (2, outputs, outputs + change)], 2, np.array([1, 0, 0]))
    assert twice == StableShare(top1=0.0, topk=4 / 6, top1_correct=0.0)
    assert stable_share(outputs, [(1, outputs, outputs)], None, None) == StableShare(1.0, None, None)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.01, 3))
def test_a_change_within_reach_keeps_what_is_certain(seed: int, classes: int, size: float) -> None:
    random = np.random.default_rng(seed)
    outputs, change = (random.standard_normal((20, classes)).astype(np.float32) for _ in range(2))
    after = outputs + np.float32(size) * change
    k = 2 if classes > 2 else None
    kept = stable_share(outputs, [(1.001, outputs, after)], k, outputs.argmax(1))
    got = compare(outputs, after, outputs.argmax(1), k)
    assert got.top1_agreement >= kept.top1
    assert got.top1 is not None and kept.top1_correct is not None and got.top1 >= kept.top1_correct
    if k:
        assert got.topk_agreement is not None and kept.topk is not None and got.topk_agreement >= kept.topk


def test_top_k_by_hand() -> None:
    reference, candidate = np.float64([[4, 3, 2, 1], [1, 2, 3, 4]]), np.float64([[3, 4, 0, 1], [1, 4, 0, 0]])
    assert topk_agreement(reference, candidate, 2) == 0.5
    assert topk_agreement(reference, candidate, 1) == 0.0
    assert [k_for(*each) for each in ((9, None), (10, None), (1000, None), (3, 2), (3, 3), (1000, 1))] == [
        None,
        5,
        5,
        2,
        None,
        1,
    ]
