"""1 / SQRT is RSQRT, where nothing else reads the root."""

from __future__ import annotations

import numpy as np

from mobilekit.convert.direct.roots import with_reciprocal_roots
from tests.tflite_net import Net, counts, normal, results


def divided(numerator: float, *, is_root_read: bool = False) -> bytes:
    net = Net()
    x = net.tensor("x", [1, 4, 6])
    root = net.op("SQRT", [x], net.tensor("root", [1, 4, 6]))
    one = net.constant(np.full(1, numerator, np.float32))
    ratio = net.op("DIV", [one, root], net.tensor("ratio", [1, 4, 6]), "DivOptions")
    return net.content(x, ratio, *([root] if is_root_read else []))


def test_a_reciprocal_root_is_one_op_of_the_same_values() -> None:
    before, x = divided(1), np.abs(normal(1, 4, 6)) + 0.01
    after = with_reciprocal_roots(before)
    assert counts(after) == {"RSQRT": 1}
    (made,), (was,) = results(after, x), results(before, x)
    np.testing.assert_allclose(made, 1 / np.sqrt(x.astype(np.float64)), rtol=3e-7)
    np.testing.assert_allclose(made, was, rtol=3e-7)


def test_other_quotients_stay() -> None:
    for content in (divided(2), divided(1, is_root_read=True)):
        assert counts(with_reciprocal_roots(content))["DIV"] == 1
