"""The estimate of what rounding a layer's inputs costs, held to what was counted on a Cortex-A76 under qemu."""

from __future__ import annotations

import numpy as np
import pytest

from mobilekit.artifacts.dynamic_cost import dynamic_ratio
from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.convert.weights import dynamic
from tests.tflite_by_hand import make_tflite


def layer(shape: tuple[int, ...], channels: int, weights: int) -> bytes:
    """Return a file of one convolution with this many weights for each channel, all of 1 by 1."""
    constants = {"w": np.ones((channels, 1, 1, weights), np.float32), "b": np.zeros(channels, np.float32)}
    model = unpack(make_tflite([("CONV_2D", ["x", "w", "b"], "y")], shape, ["y"], constants))
    model.subgraphs[0].tensors[-1].shape = np.array([*shape[:-1], channels], np.int32)
    return pack(model)


@pytest.mark.parametrize(
    ("shape", "channels", "weights", "float32", "counted"),
    [
        ((1, 112, 112, 16), 64, 16, 5_426_291, 10_288_592),
        ((1, 28, 28, 72), 20, 72, 614_606, 878_975),
        ((1, 28, 28, 24), 72, 24, 525_587, 601_439),
        ((1, 7, 7, 160), 960, 160, 2_720_800, 889_534),
        ((1, 14, 14, 112), 336, 112, 2_475_100, 1_111_485),
        ((1, 1, 1, 960), 1280, 960, 560_663, 225_525),
    ],
)
def test_the_estimate_is_near_the_count(
    shape: tuple[int, ...],
    channels: int,
    weights: int,
    float32: int,
    counted: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_kept = dynamic_ratio(dynamic(layer(shape, channels, weights))) is None
    assert is_kept == (counted > float32)
    monkeypatch.setattr("mobilekit.convert.weights.kept_float", lambda _content: set())
    ratio = dynamic_ratio(dynamic(layer(shape, channels, weights)))
    assert ratio is not None
    assert 0.7 < ratio / (counted / float32) < 1.3
    assert (ratio > 1) == (counted > float32)


def test_a_file_in_float_has_no_such_layers() -> None:
    assert dynamic_ratio(layer((1, 7, 7, 160), 960, 160)) is None
