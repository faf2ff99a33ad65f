"""A map that a join, a choice or a minimum takes, and others too, keeps its own scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.int8.own_scales import with_copies
from tests.converting import Converted, normal

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)


class Beside(nn.Module):
    """A map `a` that an op takes, and a layer behind reads as well."""

    def __init__(self, op: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.op = op
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.read, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        joined = self.op(a, b)
        joined = self.other(joined) if joined.shape[1] == 8 else joined
        return self.read(a) + 0.2 * joined


OPS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "MINIMUM": lambda a, b: torch.minimum(a, b.abs() - 3),
    "MAXIMUM": lambda a, b: torch.maximum(a, b.abs() + 1),
    "CONCATENATION": lambda a, b: torch.cat([a, 30 * b], 1),
    "SELECT": lambda a, b: torch.where(b > 0, a, 0.1 * b.sigmoid()),
}


@pytest.mark.parametrize("kind", OPS)
def test_a_map_read_elsewhere_is_not_cut(kind: str, tmp_path: Path) -> None:
    net = Converted(Beside(OPS[kind]), SHAPE, tmp_path)
    path = net.int8()
    # Two roundings to 256 levels of a range of 8 standard deviations, and those of weights: a hundredth each.
    assert net.error(path) < 0.03
    # Of the copy a change of scale is left, and no product.
    assert TFLiteGraph(path.read_bytes()).kinds.count("MUL") == TFLiteGraph(net.float32.read_bytes()).kinds.count("MUL")


MOVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "TRANSPOSE": lambda x: x.permute(0, 1, 3, 2),
    "SLICE": lambda x: x[:, :, 2:],
    "MAX_POOL_2D": lambda x: functional.max_pool2d(x, 2),
    "AVERAGE_POOL_2D": lambda x: functional.avg_pool2d(x, 2),
    "RESIZE_BILINEAR": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
}


@pytest.mark.parametrize("kind", MOVES)
def test_a_map_is_not_cut_through_what_moves_it(kind: str, tmp_path: Path) -> None:
    def op(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        moved = torch.minimum(MOVES[kind](a), MOVES[kind](b).abs() - 3)
        return functional.interpolate(moved, a.shape[2:], mode="nearest")

    net = Converted(Beside(op), SHAPE, tmp_path)
    assert net.error(net.int8()) < 0.03


def test_a_narrow_map_in_a_join_of_a_join_keeps_its_levels(tmp_path: Path) -> None:
    net = Converted(Beside(lambda a, b: torch.cat([torch.cat([a[:, :2], b[:, :2]], 1), 30 * b], 1)), SHAPE, tmp_path)
    assert net.error(net.int8()) < 0.03


def test_ranges_that_are_alike_need_no_copy(tmp_path: Path) -> None:
    content = Converted(Beside(OPS["CONCATENATION"]), SHAPE, tmp_path).float32.read_bytes()
    graph = TFLiteGraph(content)
    alike = dict.fromkeys(graph.computed(), (-1.0, 1.0))
    assert with_copies(content, alike) == (content, set())
    (joined,) = (graph.results[op][0] for op in graph.ops_of(("CONCATENATION",)))
    copied = TFLiteGraph(with_copies(content, {**alike, joined: (-9.0, 9.0)})[0])
    assert copied.kinds.count("MUL") == graph.kinds.count("MUL") + 1  # of `a`, and not of what nothing else reads


SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "SOFTMAX": lambda x: (4 * x).softmax(1),
    "LOGISTIC": lambda x: torch.sigmoid(x),
    "TANH": lambda x: torch.tanh(x),
}


class Detector(nn.Module):
    """Boxes and scores in one map, and what else is made of the scores: the label that has the largest, and a map."""

    def __init__(self, scores: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.scores = scores
        self.head, self.read = nn.Conv2d(3, 7, 3, stride=4, padding=1), nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        made = self.head(x)
        scores = self.scores(made[:, 4:])
        return torch.cat([made[:, :4].sigmoid() * 640, scores], 1), scores.argmax(1), self.read(scores)


@pytest.mark.parametrize("kind", SCORES)
def test_scores_of_a_fixed_scale_are_not_cut_by_a_join_with_boxes(kind: str, tmp_path: Path) -> None:
    """In the join's steps of 2 all scores are 0, and so is the label."""
    net = Converted(Detector(SCORES[kind]), SHAPE, tmp_path)
    inputs = normal(8, *SHAPE)
    with torch.no_grad():
        joined, labels, read = (output.numpy() for output in net.model(torch.from_numpy(inputs)))
    made = [*LiteRTRuntime(net.int8(), net.layouts).run({"input": inputs}).values()]
    assert len(np.unique(labels)) == 3 and (made[1] == labels).mean() > 0.9
    for found, expected in ((made[0], joined), (made[2], read)):
        assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)
