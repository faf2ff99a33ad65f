"""Clamps in a row are one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.tflite import kinds, unpack
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.merge_clamps import MergeClamps
from tests.converting import Converted
from tests.rewriting import (
    Forward,
    Model,
    assert_exact,
    normal,
    quick,
    reasons,
    rewritten,
    traced,
)

CLAMPS = MergeClamps(Options())
X = 3 * normal(1, 2, 3, 8, 7)
bound = st.one_of(st.none(), st.integers(-3, 3), st.floats(-3, 3, allow_nan=False))
some_clamp = st.tuples(bound, bound).filter(lambda bounds: bounds != (None, None))


def clamps(model: nn.Module) -> list[object]:
    """Return what is left of the clamps: `relu`, or their bounds."""
    nodes = rewritten(CLAMPS, model, X).graph.nodes
    kept = [node for node in nodes if node.target in (torch.ops.aten.relu.default, torch.ops.aten.clamp.default)]
    return ["relu" if node.target is torch.ops.aten.relu.default else tuple(node.args[1:]) for node in kept]


@quick
@given(st.lists(some_clamp, min_size=2, max_size=4))
def test_any_row_is_one_clamp_of_the_same_function(row: list[tuple[float | None, float | None]]) -> None:
    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        for least, most in row:
            x = x.clamp(least, most)
        return x + m.one(x)

    model = Model({"one": nn.Conv2d(3, 3, 1)}, forward)
    graph = traced(model, X)
    sites = CLAMPS.find(graph)
    assert [CLAMPS.why_not(graph, site) for site in sites] == [None] * len(sites) and len(sites) <= 1
    assert len(sites) == 1 or clamps(model) == ["relu", (None, row[-1][1])]
    after = rewritten(CLAMPS, model, X)
    with torch.no_grad():
        assert torch.equal(model(X), after(X))
    assert len(clamps(model)) == 1 or clamps(model)[0] == "relu"


FORMS: dict[str, tuple[Forward, list[object]]] = {
    "ReLU, then a clamp": (lambda m, x: m.one(torch.clamp(torch.relu(x), -1, 2)), ["relu", (None, 2.0)]),
    "ReLU6 of a ReLU": (lambda m, x: m.one(F.relu6(m.relu(x))), [(0.0, 6.0)]),
    "ReLUs": (lambda m, x: m.one(torch.relu(F.relu(x))), ["relu"]),
    "hardtanh, then a ReLU": (lambda m, x: m.one(F.relu(F.hardtanh(x))), ["relu", (None, 1.0)]),
    "at least, at most": (lambda m, x: m.one(x.clamp(min=-1).clamp(max=2)), [(-1.0, 2.0)]),
    "nothing in common": (lambda m, x: m.one(x.clamp(0, 1).clamp(2, 3)) + x, [(2.0, 2.0)]),
    "the wrong way round": (lambda m, x: m.one(x.clamp(3, 1).relu()) + x, [(1.0, 1.0)]),
    "one from 0": (lambda m, x: m.one(x.clamp(0, 2)), ["relu", (None, 2.0)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_as_few_as_do_the_same(form: str) -> None:
    forward, left = FORMS[form]
    model = Model({"one": nn.Conv2d(3, 3, 1), "relu": nn.ReLU()}, forward)
    assert_exact(CLAMPS, model, X)
    assert clamps(model) == left


@pytest.mark.parametrize(
    "forward",
    [lambda _m, x: F.relu6(x) * 2, lambda _m, x: x.relu() * 2, lambda _m, x: x.clamp(-1, 1) * 2, lambda _m, x: x * 2,
     lambda _m, x: x.relu().clamp(max=2) * 2, lambda _m, x: x.clamp(min=x.mean()).relu()],
)  # fmt: skip
def test_what_is_one_op_already_is_no_site(forward: Forward) -> None:
    assert reasons(CLAMPS, Model({}, forward), X) == []


def test_a_clamp_that_others_read_stays() -> None:
    def forward(_m: Model, x: torch.Tensor) -> torch.Tensor:
        y = x.clamp(-2, 2)
        return y.relu() + y

    assert reasons(CLAMPS, Model({}, forward), X) == ["others read clamp before it as well"]


@pytest.mark.slow
def test_a_convolution_with_two_clamps_is_two_ops_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Hardtanh(-1, 2), nn.Flatten())
    converted = Converted(rewritten(CLAMPS, model, torch.zeros(1, 3, 8, 8)), (3, 8, 8), tmp_path)
    content = unpack(converted.float32.read_bytes())
    names = [kinds(content)[op.opcodeIndex] for op in content.subgraphs[0].operators]
    assert [name for name in names if name not in ("TRANSPOSE", "RESHAPE")] == ["CONV_2D", "MINIMUM"]
    assert converted.error(converted.float32) < 1e-6
