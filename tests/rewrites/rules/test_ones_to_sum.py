"""Ones beside the values of linear attention become a sum over the keys."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.ones_to_sum import OnesToSum
from tests.rewriting import (
    Forward,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    quick,
    reasons,
    seeds,
)

ONES = OnesToSum(Options())
X = normal(1, 2, 12, 5, 4)


def qkv(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return three matrices of (N, tokens, 4)."""
    q, k, v = x.flatten(2).transpose(1, 2).chunk(3, -1)
    return q, k, v


def columns(m: Model, x: torch.Tensor) -> torch.Tensor:
    """As timm writes it: a column of ones."""
    q, k, v = qkv(x)
    out = q.relu() @ (k.relu().transpose(-1, -2) @ F.pad(v, (0, 1), mode="constant", value=1.0))
    return out[..., :-1] / (out[..., -1:] + 1e-5)


def rows(m: Model, x: torch.Tensor) -> torch.Tensor:
    """As the authors' code writes it: a row of ones, tokens last."""
    q, k, v = (each.transpose(1, 2) for each in qkv(x))
    out = torch.matmul(torch.matmul(F.pad(v, (0, 0, 0, 1), value=1), k.relu().transpose(-1, -2)), q.relu())
    return out[:, :-1] / (out[:, -1:] + 1e-15)


ONES_FORMS: dict[str, Forward] = {
    "columns": columns,
    "rows": rows,
    "layer": lambda m, x: (y := qkv(x)[0].relu() @ m.pad(qkv(x)[1]))[:, :, :4] / (y[:, :, 4:] + 1),
    "quadratic": lambda m, x: (
        (y := ((a := qkv(x))[0] @ a[1].transpose(1, 2)).relu() @ F.pad(a[2], (0, 1), value=1.0))[..., :-1]
        / (y[..., -1:] + 1e-3)
    ),
    "total alone": lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].transpose(1, 2), (0, 1), value=1.0))[..., -1:],
}


@pytest.mark.parametrize("form", ONES_FORMS)
def test_padding_with_ones_becomes_a_sum(form: str) -> None:
    x = X[:, :, :2, :2] if form in ("layer", "total alone") else X
    model = Model({"pad": nn.ConstantPad1d((0, 1), 1.0)}, ONES_FORMS[form])
    graph = assert_exact(ONES, model, x, 3 * x[:1])
    targets = [node.target for node in graph.graph.nodes]
    assert torch.ops.aten.pad.default not in targets
    assert torch.ops.aten.sum.dim_IntList in targets
    assert ONES.find(graph) == []


@quick
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.booleans(), st.booleans(), seeds)
def test_any_shape_of_attention(heads: int, dim: int, tokens: int, by_rows: bool, linear: bool, seed: int) -> None:
    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        q, k, v = x.chunk(3, 2)  # (N, heads, dim, tokens)
        if by_rows:
            padded, k, q = F.pad(v, (0, 0, 0, 1), value=1), k.sigmoid(), q.sigmoid()
            out = (padded @ k.mT) @ q if linear else padded @ (k.mT @ q)
            return out[:, :, :-1] / (out[:, :, -1:] + 1)
        padded, k, q = F.pad(v.mT, (0, 1), value=1), k.sigmoid().mT, q.sigmoid().mT
        out = q @ (k.mT @ padded) if linear else (q @ k.mT) @ padded
        return out[..., :-1] / (out[..., -1:] + 1)

    x = normal(seed, 2, heads, 3 * dim, tokens)
    assert_exact(ONES, Model({}, forward), x, normal(seed + 1, 1, heads, 3 * dim, tokens + 2))


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1), value=1.0), "is used as a whole"),
        (
            lambda m, x: (y := qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1), value=1.0))[..., :-1] + y.mean(),
            "used as a whole",
        ),
        (lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1), value=1.0))[..., 1:], "is used as a whole"),
        (lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1), value=1.0))[:, :-1, :-1], "is used as a whole"),
        (lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1), value=1.0)).relu()[..., :-1], "is used as a whole"),
    ],
)
def test_ones_that_are_not_taken_apart_stay(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(ONES, Model({}, forward), X[:, :, :2, :2], reason)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1), value=2.0))[..., :-1],
        lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].mT, (0, 1)))[..., :-1],
        lambda m, x: (qkv(x)[0] @ F.pad(qkv(x)[1].mT, (1, 0), value=1.0))[..., :-1],
        lambda m, x: (qkv(x)[0].mT @ F.pad(qkv(x)[1], (0, 0, 0, 0, 0, 1), value=1.0)[:1])[..., :-1],
        lambda m, x: (F.pad(qkv(x)[0], (0, 1), value=1.0) @ normal(0, 5, 3))[..., :-1],
        lambda m, x: F.pad(qkv(x)[0], (0, 1), value=1.0) + 1,
    ],
)
def test_other_paddings_are_not_its_business(forward: Forward) -> None:
    assert reasons(ONES, Model({}, forward), X[:, :, :2, :2]) == []
