"""Linear attention: the order of its products, its sum over the keys, and its denominator."""

from __future__ import annotations

import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.models.linear_attention import ReLULinearAttention
from mobilekit.rewrites.base import Exactness, Options
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.sign import lower_bound
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.matmul_order import MatmulOrder
from mobilekit.rewrites.rules.ones_to_sum import OnesToSum
from mobilekit.rewrites.rules.safe_denominator import SafeDenominator, SafeDenominatorOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    traced,
)

ORDER, ONES = MatmulOrder(Options()), OnesToSum(Options())
SAFE = SafeDenominator(SafeDenominatorOptions())
X = normal(1, 2, 12, 5, 4)


def qkv(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return three matrices of (N, tokens, 4)."""
    q, k, v = x.flatten(2).transpose(1, 2).chunk(3, -1)
    return q, k, v


# -- matmul-order ------------------------------------------------------------------------------------------------------

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
    products = [node for node in graph.graph.nodes if node.target in (operator.matmul, torch.matmul)]
    shapes = {tuple(node.meta["tensor_meta"].shape) for node in traced(graph, x).graph.nodes if "matmul" in node.name}
    assert (1, 20, 20) in shapes or len(products) == 3


def test_softmax_between_the_products_forbids_it() -> None:
    model = Model({}, lambda m, x: ((a := qkv(x))[0] @ a[1].transpose(1, 2)).softmax(-1) @ a[2])
    assert reasons(ORDER, model, X) == []


# -- ones-to-sum -------------------------------------------------------------------------------------------------------


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
    assert F.pad not in targets
    assert torch.sum in targets
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


# -- safe-denominator --------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """ReLU linear attention on the channels of a map."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.attention = ReLULinearAttention(eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = x.flatten(2).chunk(3, 1)
        out: torch.Tensor = self.attention(q, k, v)
        return out


def test_a_denominator_gets_a_floor() -> None:
    model = Attention(1e-15).double()
    assert SAFE.exactness is Exactness.APPROXIMATE
    assert reasons(SAFE, model, X) == [None]
    graph = rewritten(SAFE, model, X)
    with torch.no_grad():
        assert torch.equal(model(X), graph(X)), "no denominator is near the floor"
        assert torch.equal(model(0 * X), graph(0 * X))
        small = 1e-3 * X  # denominators are the square of that
        assert relative_error(model(small), graph(small)) > 0.01
    bound = "its denominator is never below 6.10352e-05"
    assert reasons(SAFE, graph, X) == [bound]


def test_below_the_floor_the_change_is_within_the_stated_bound() -> None:
    floor = 0.25
    model = Model({}, lambda m, x: x[:, :6] / (x[:, 6:].relu() + 1e-3))
    graph = rewritten(SafeDenominator(SafeDenominatorOptions(floor=floor)), model, X)
    numerator, denominator = X[:, :6], X[:, 6:].relu() + 1e-3
    with torch.no_grad():
        change = (graph(X) - model(X)).abs()
    assert torch.equal(change == 0, denominator >= floor)
    bound = numerator.abs() * (1 / denominator - 1 / floor).clamp(min=0)
    assert bool((change <= bound * (1 + 1e-12)).all())
    assert change.max() > 1


def test_in_float16_the_floor_is_what_keeps_numbers_numbers() -> None:
    x = torch.zeros(1, 12, 2, 2)
    for eps, floor, is_finite in ((1e-15, None, False), (1e-15, 2.0**-14, True), (1e-3, None, True)):
        graph: GraphModule = trace(Attention(eps))
        if floor:
            graph = rewritten(SAFE, Attention(eps), x)
        with torch.no_grad():
            assert bool(torch.isfinite(graph.half()(x.half())).all()) == is_finite


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: x / (x.mean((2, 3), keepdim=True) + 1e-5), "its denominator may be negative"),
        (lambda m, x: x / (x.relu() - 1e-5), "its denominator may be negative"),
        (lambda m, x: x / (x.relu() @ x[:, :, :4] + 1), "its denominator may be negative"),
        (lambda m, x: x / (F.interpolate(x.relu(), (4, 4), mode="bicubic") + 1e-5), "its denominator may be negative"),
    ],
)
def test_denominators_of_unknown_sign_stay(forward: Forward, reason: str) -> None:
    assert_refused_for_a_reason(SAFE, Model({}, forward), X[:, :, :4, :4], reason)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: x / (x.relu() + 1e-4),
        lambda m, x: x / (x.sigmoid() + 1),
        lambda m, x: x / x.clamp(min=0.5),
        lambda m, x: x / torch.clamp(x, 0.5, 2),
        lambda m, x: x / (0.5 + x.relu().clamp(0.25)),
    ],
)
def test_denominators_that_are_never_that_low_stay(forward: Forward) -> None:
    """A floor would change nothing there: the refusal spares an op."""
    model = Model({}, forward)
    [told] = reasons(SAFE, model, X)
    assert str(told).startswith("its denominator is never below")
    with torch.no_grad():
        assert torch.equal(model(X), rewritten(SAFE, model, X)(X))


def test_divisions_by_numbers_are_not_its_business() -> None:
    assert reasons(SAFE, Model({}, lambda m, x: x / 6 + x / x.shape[1]), X) == []


SIGNS: list[tuple[Forward, float | None]] = [
    (lambda m, x: x, None),
    (lambda m, x: x.relu(), 0.0),
    (lambda m, x: F.relu6(x) + 2, 2.0),
    (lambda m, x: x.clamp(0, 6), 0.0),
    (lambda m, x: torch.clamp(x, max=1), None),
    (lambda m, x: x.clamp(min=-2), -2.0),
    (lambda m, x: x.sigmoid() * x.exp(), 0.0),
    (lambda m, x: x.sigmoid() * x, None),
    (lambda m, x: torch.cat([x.relu(), x.softmax(1)], 1), 0.0),
    (lambda m, x: torch.cat([x.relu(), x], 1), None),
    (lambda m, x: F.avg_pool2d(x.relu(), 2).flatten(1).mean(1).unsqueeze(1), 0.0),
    (lambda m, x: F.interpolate(x.relu(), scale_factor=2, mode="bilinear"), 0.0),
    (lambda m, x: F.interpolate(x.relu(), scale_factor=2, mode="bicubic"), None),
    (lambda m, x: (x.relu() / (x.relu() + 1)).transpose(1, 2), 0.0),
    (lambda m, x: x.relu() - 1, None),
    (lambda m, x: m.act(x).chunk(2, 1)[0], 0.0),
]


@pytest.mark.parametrize(("forward", "bound"), SIGNS)
def test_lower_bounds_hold_and_are_found(forward: Forward, bound: float | None) -> None:
    made: Layers = {"act": nn.ReLU()}
    graph = traced(Model(made, forward), X)
    [output] = next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes
    assert lower_bound(graph, output) == bound
    if bound is not None:
        with torch.no_grad():
            assert graph(5 * X).min() >= bound
