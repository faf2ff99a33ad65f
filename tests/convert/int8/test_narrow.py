"""Maps that are 0 on all calibration pictures have steps that kernels take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.int8.narrow import wide_enough
from tests.converting import Converted
from tests.tflite_by_hand import make_tflite


def graph_of(*ops: tuple[str, list[str], str]) -> tuple[TFLiteGraph, dict[str, int]]:
    weights = {"w": np.full((4, 1, 1, 4), 2.54, np.float32), "b": np.zeros(4, np.float32)}
    graph = TFLiteGraph(make_tflite([*ops], (1, 2, 2, 4), [ops[-1][2]], weights))
    return graph, {graph.name(number): number for number in range(len(graph.tensors))}


def test_a_layer_of_zeros_has_a_step_of_its_sums() -> None:
    """Weights have a step of 2.54 / 127 = .02, the input one of 2.55 / 255 = .01: 2e-4, of which 128 may be in one."""
    graph, names = graph_of(("CONV_2D", ["x", "w", "b"], "y"), ("CONV_2D", ["y", "w", "b"], "z"))
    given = {names["x"]: (0.0, 2.55), names["y"]: (0.0, 0.0), names["z"]: (-1.0, 1.0)}
    found = wide_enough(graph, given)
    low, high = found.pop(names["y"])
    assert low == 0 and high == pytest.approx(255 * 2e-4 / 128)
    assert found == {names["x"]: (0.0, 2.55), names["z"]: (-1.0, 1.0)}, "others stay as they are"


def test_a_term_of_zeros_has_a_step_that_the_sum_sees() -> None:
    graph, names = graph_of(("CONV_2D", ["x", "w", "b"], "y"), ("ADD", ["x", "y"], "z"))
    given = {names["x"]: (-5.1, 0.0), names["y"]: (-1e-9, 0.0), names["z"]: (-5.1, 0.0)}
    found = wide_enough(graph, given)
    low, high = found[names["y"]]
    assert high == 0 and low == pytest.approx(-5.1 / 512)
    assert (found[names["x"]], found[names["z"]]) == ((-5.1, 0.0), (-5.1, 0.0))


def test_a_constant_map_is_no_narrow_one() -> None:
    """Its range reaches from 0 to it."""
    graph, names = graph_of(("CONV_2D", ["x", "w", "b"], "y"), ("CONV_2D", ["y", "w", "b"], "z"))
    given = {names["x"]: (0.0, 2.55), names["y"]: (5.0, 5.0), names["z"]: (-1.0, 1.0)}
    assert wide_enough(graph, given) == given


class Closed(nn.Module):
    """Squeeze and excitation whose ReLU never opens, as trained networks have some, and a branch that adds nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.branch = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.reduce, self.expand = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        for layer in (self.branch, self.reduce):
            nn.init.constant_(layer.bias, -100.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.first(x)
        gate = self.expand(self.reduce(made.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return made * gate + self.branch(made).relu()


@pytest.mark.slow
def test_a_net_with_layers_of_zeros_runs_and_is_right(tmp_path: Path) -> None:
    net = Converted(Closed(), (3, 8, 8), tmp_path)
    assert net.error(net.int8()) < 0.03
