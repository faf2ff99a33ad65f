"""A depthwise convolution in float64 is PyTorch's, and any other is left to it."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import nn

from mobilekit.models import depthwise
from mobilekit.models.depthwise import FastDepthwise

CASES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (1, 5), "padding": (0, 2), "bias": False},
    {"kernel_size": (5, 3), "stride": (2, 3), "padding": (1, 2)},
    {"kernel_size": 3, "dilation": (2, 1), "stride": 2},
    {"kernel_size": 1},
    {"kernel_size": (1, 5), "stride": (1, 3), "out_channels": 18},
]
OTHERS = [
    (nn.Conv2d(4, 4, 3, groups=2), torch.float64),
    (nn.Conv2d(4, 4, 3, groups=4, padding="same"), torch.float64),
    (nn.Conv2d(4, 4, 3, groups=4), torch.float32),
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_the_sums_are_those_of_torch(options: dict[str, object]) -> None:
    layer = nn.Conv2d(**{"in_channels": 6, "out_channels": 6, "groups": 6, **options}).double()  # type: ignore[arg-type]
    x = torch.randn(2, 6, 13, 11, dtype=torch.float64)
    with torch.no_grad():
        expected = layer(x)
        with FastDepthwise(), mock.patch.object(depthwise, "_depthwise", wraps=depthwise._depthwise) as sums:
            found = layer(x)
    assert sums.call_count == 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("layer", "dtype"), OTHERS, ids=str)
def test_other_convolutions_are_left_to_torch(layer: nn.Conv2d, dtype: torch.dtype) -> None:
    x = torch.randn(2, 4, 9, 9, dtype=dtype)
    with torch.no_grad():
        expected = layer.to(dtype)(x)
        with FastDepthwise():
            assert torch.equal(layer(x), expected)


def test_a_kernel_larger_than_the_map_is_refused_as_by_torch() -> None:
    layer, x = nn.Conv2d(2, 2, 5, groups=2).double(), torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError), FastDepthwise():
        layer(x)
