"""The metrics are their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import Bound, Metrics

VALUES = st.floats(-1000, 1000, width=32)


OUTPUTS = hnp.array_shapes(min_dims=2, max_dims=4, max_side=5).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float32, shape, elements=VALUES)] * 2)
)


@given(OUTPUTS)
def test_metrics_are_their_formulas(pair: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
    a, b = (array.astype(np.float64).reshape(len(array), -1) for array in pair)
    got = compare(*pair)
    assert got.max_abs == max(abs(x - y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
    assert got.mean_abs == pytest.approx(np.sum(np.abs(a - b)) / a.size)
    assert got.top1_agreement == sum(np.argmax(x) == np.argmax(y) for x, y in zip(a, b, strict=True)) / len(a)
    assert got.finite
    assert got.top1 is None
    if np.any(a):
        assert got.relative_l2 == pytest.approx(math.sqrt(((a - b) ** 2).sum()) / math.sqrt((a**2).sum()))
    rows = list(zip(a, b, strict=True)) if a.shape[1] > 1 else [(a.ravel(), b.ravel())]
    cosines = [
        x @ y / (math.sqrt(x @ x) * math.sqrt(y @ y)) if x.any() and y.any() else 1.0 if (x == y).all() else -1.0
        for x, y in rows
    ]
    assert got.cosine == pytest.approx(min(cosines), abs=1e-9)
    error = math.sqrt(((a - b) ** 2).mean())
    if error > 0 and np.any(a):
        assert got.psnr_db == pytest.approx(20 * math.log10(np.abs(a).max() / error))
    else:
        assert got.psnr_db is None


def test_metrics_by_hand() -> None:
    got = compare(np.float32([[3, 4], [0, 2]]), np.float32([[3, 4], [2, 0]]), np.array([1, 1]))
    wanted = Metrics(2.0, 1.0, math.sqrt(8 / 29), 0.0, 20 * math.log10(4 / math.sqrt(2)), 0.5, 0.5, True)
    assert {name: value for name, value in got.to_json().items() if value is not None} == pytest.approx(
        {name: value for name, value in wanted.to_json().items() if value is not None}, rel=1e-12
    )


def test_one_number_an_input_has_its_cosine_over_the_inputs() -> None:
    """A number near 0 whose sign rounding turns is no output that points the other way."""
    got = compare(np.float32([[3.0], [0.01], [-4.0]]), np.float32([[3.0], [-0.01], [-4.0]]))
    assert got.cosine == pytest.approx((25 - 1e-4) / (25 + 1e-4))
    assert compare(np.float32([[1.0], [2.0]]), np.float32([[-1.0], [-2.0]])).cosine == pytest.approx(-1)


def test_identical_outputs() -> None:
    array = np.float32([[1, -2, 3]])
    got = compare(array, array.copy())
    assert (got.max_abs, got.mean_abs, got.relative_l2, got.psnr_db, got.top1_agreement) == (0, 0, 0, None, 1)
    assert got.cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_candidate_that_is_not_finite_holds_no_limit(bad: float) -> None:
    got = compare(np.float32([[1, 2], [3, 4]]), np.float32([[1, 2], [3, bad]]))
    assert not got.finite
    for metric, limit in (("max_abs", 1e30), ("relative_l2", 1e30), ("cosine", 0.0)):
        assert not Bound(metric, limit, "").judge(got).holds
    assert (got.psnr_db, got.to_json()["max_abs"], got.to_json()["finite"]) == (None, None, False)


def test_a_reference_of_zeros() -> None:
    zeros = np.zeros((2, 3), np.float32)
    got = compare(zeros, zeros + 1)
    assert (got.max_abs, got.relative_l2, got.cosine, got.psnr_db) == (1, math.inf, -1, None)
    assert got.to_json()["relative_l2"] is None
    assert not Bound("relative_l2", 1e30, "").judge(got).holds
    assert compare(zeros, zeros).max_abs == 0


def test_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        compare(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))


def test_labels_give_top1_of_the_candidate() -> None:
    reference = np.eye(4, dtype=np.float32)
    got = compare(reference, reference[[0, 1, 3, 2]], np.array([0, 1, 3, 3]))
    assert (got.top1_agreement, got.top1) == (0.5, 0.75)
