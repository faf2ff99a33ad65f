"""DFC's shared maps become convolutions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.models.dfc import Axis, FullyConnected, SharedFullyConnected
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.dfc_shared import DFCShared
from tests.rewriting import (
    Layers,
    Model,
    assert_kept,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    sizes,
)

SHARED = DFCShared(Options())


@quick
@given(
    st.integers(1, 4),
    st.sampled_from([1, 3, 5, 7, 9]),
    st.permutations(["horizontal", "vertical"]),
    sizes,
    sizes,
    seeds,
)
def test_shared_maps_become_convolutions(
    c: int, kernel: int, axes: list[Axis], height: int, width: int, seed: int
) -> None:
    layers: Layers = {axis: SharedFullyConnected(c, kernel, axis) for axis in axes}
    layers["bn"] = nn.BatchNorm2d(c)
    model = Model(layers, lambda m, x: getattr(m, axes[1])(m.bn(getattr(m, axes[0])(x))), seed)
    x = normal(seed, 2, c, height, width)
    assert reasons(SHARED, model, x) == [None, None]
    graph = rewritten(SHARED, model, x)
    assert_kept(model, graph, x, normal(seed, 1, c, 1, 2), normal(seed, 1, c, 13, 4))
    assert calls(graph, FullyConnected) == []
    shapes = {
        str(node.target): tuple(graph.get_parameter(f"{node.target}.weight").shape) for node in calls(graph, nn.Conv2d)
    }
    assert shapes == {"horizontal": (c, 1, 1, kernel), "vertical": (c, 1, kernel, 1)}


def test_a_map_that_is_called_twice_becomes_one_convolution() -> None:
    model = Model({"fc": SharedFullyConnected(3, 3, "vertical")}, lambda m, x: m.fc(m.fc(x)))
    x = normal(0, 1, 3, 6, 6)
    graph = rewritten(SHARED, model, x)
    assert_kept(model, graph, x)
    assert len(calls(graph, nn.Conv2d)) == 2
