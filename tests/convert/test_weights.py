"""Weights in float16 and in 8 bits, by what numpy makes of the same."""

from __future__ import annotations

import numpy as np

from mobilekit.convert.weights import dynamic, float16
from tests.tflite_net import Net, normal, results


def test_weights_in_half_precision_and_in_8_bits() -> None:
    net = Net()
    x, weights = net.tensor("x", [1, 64]), normal(32, 64)
    none, out = net.constant(np.zeros(32, np.float32)), net.tensor("out", [1, 32])
    net.op("FULLY_CONNECTED", [x, net.constant(weights), none], out, "FullyConnectedOptions")
    before, row = net.content(x, out), normal(1, 64)
    expected = row @ weights.T
    half = results(float16(before), row)[0]
    np.testing.assert_allclose(half, row @ weights.astype(np.float16).astype(np.float32).T, atol=1e-5)
    assert len(float16(before)) < 0.6 * len(before)
    eighth = results(dynamic(before), row)[0]
    assert 0 < np.linalg.norm(eighth - expected) / np.linalg.norm(expected) < 0.02
    assert len(dynamic(before)) < 0.4 * len(before)
