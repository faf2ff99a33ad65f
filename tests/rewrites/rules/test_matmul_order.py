"""Products of three matrices in the order that costs less."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.matmul_order import MatmulOrder
from tests.rewriting import (
    Forward,
    Model,
    assert_exact,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    traced,
)

ORDER = MatmulOrder(Options())
X = normal(1, 2, 12, 5, 4)


def qkv(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return three matrices of (N, tokens, 4)."""
    q, k, v = x.flatten(2).transpose(1, 2).chunk(3, -1)
    return q, k, v


QUADRATIC: dict[str, Forward] = {
    "@": lambda m, x: (a := qkv(x))[0] @ a[1].transpose(1, 2) @ a[2],
    "torch.matmul": lambda m, x: torch.matmul(torch.matmul((a := qkv(x))[0], a[1].transpose(1, 2)), a[2]),
    "bmm": lambda m, x: torch.bmm(torch.bmm((a := qkv(x))[0], a[1].transpose(1, 2)), a[2]),
    "method": lambda m, x: (a := qkv(x))[0].matmul(a[1].transpose(1, 2)).matmul(a[2]),
    "from the right": lambda m, x: (a := qkv(x))[2].transpose(1, 2) @ (a[1] @ a[0].transpose(1, 2)),
}


@pytest.mark.parametrize("form", QUADRATIC)
def test_quadratic_attention_becomes_linear(form: str) -> None:
    model = Model({}, QUADRATIC[form])
    x = normal(1, 1, 12, 5, 4)
    graph = assert_exact(ORDER, model, x, X, normal(2, 1, 12, 1, 2))
    [site] = ORDER.find(traced(model, x))
    assert site.detail == f"{2 * 20 * 4 * 4 - 2 * 20 * 20 * 4:+,} MACs"
    [other] = ORDER.find(traced(graph, x))
    assert other.detail == f"{2 * 20 * 20 * 4 - 2 * 20 * 4 * 4:+,} MACs"


@quick
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.booleans(), seeds)
def test_the_cheaper_order_is_kept_or_made(n: int, d: int, e: int, f: int, left: bool, seed: int) -> None:
    """Oracle: the textbook count of both orders."""
    a, b, c = normal(seed, 1, n, d), normal(seed + 1, d, e), normal(seed + 2, e, f)
    model = Model({"b": nn.ParameterList([b]), "c": nn.ParameterList([c])},
                  lambda m, x: (x @ m.b[0]) @ m.c[0] if left else x @ (m.b[0] @ m.c[0]), seed)  # fmt: skip
    left_macs, right_macs = n * d * e + n * e * f, d * e * f + n * d * f
    now, other = (left_macs, right_macs) if left else (right_macs, left_macs)
    if other < now:
        assert_exact(ORDER, model, a)
    else:
        assert reasons(ORDER, model, a) == [f"the present order costs {now:,} MACs, the other {other:,}"]


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: (a := qkv(x))[0] @ (a[1].transpose(1, 2) @ a[2]), "the present order costs 640 MACs, the other"),
        (
            lambda m, x: (s := (a := qkv(x))[0] @ a[1].transpose(1, 2)) @ a[2] + s.mean(),
            "the inner product is used elsewhere too",
        ),
    ],
)
def test_orders_that_stay(forward: Forward, reason: str) -> None:
    """Changing them is right too, and costs more: the oracle is the count of multiply-accumulates."""
    x = X[:1]
    [told] = reasons(ORDER, Model({}, forward), x)
    assert reason in str(told)
    graph = rewritten(ORDER, Model({}, forward), x)
    products = [node for node in graph.graph.nodes if node.target is torch.ops.aten.matmul.default]
    shapes = {tuple(node.meta["tensor_meta"].shape) for node in traced(graph, x).graph.nodes if "matmul" in node.name}
    assert (1, 20, 20) in shapes or len(products) == 3


def test_softmax_between_the_products_forbids_it() -> None:
    model = Model({}, lambda m, x: ((a := qkv(x))[0] @ a[1].transpose(1, 2)).softmax(-1) @ a[2])
    assert reasons(ORDER, model, X) == []
