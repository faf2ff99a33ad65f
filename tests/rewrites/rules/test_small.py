"""Steps that do nothing, heads that readers of the outputs can do without, and more layers for batch norms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.recipes.load import parse_recipe
from mobilekit.rewrites.base import Exactness, Options
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.rules.fold_batch_norm import FoldBatchNorm
from mobilekit.rewrites.rules.logits_head import LogitsHead, LogitsHeadOptions
from mobilekit.rewrites.rules.remove_identity import RemoveIdentity
from tests.rewriting import (
    Forward,
    Model,
    assert_exact,
    assert_refused_for_a_reason,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
)

FOLD, REMOVE = FoldBatchNorm(Options()), RemoveIdentity(Options())
KEEP_ALL, KEEP_ARGMAX = LogitsHead(LogitsHeadOptions()), LogitsHead(LogitsHeadOptions(keep="argmax"))
X = normal(1, 2, 3, 8, 7)


# -- fold-batch-norm: layers of other kinds ----------------------------------------------------------------------------


@quick
@given(
    st.sampled_from([1, 2, 3]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans(),
    seeds,
)  # fmt: skip
def test_folding_into_convolutions_of_one_to_three_axes(
    axes: int, groups: int, inner: int, outer: int, bias: bool, affine: bool, seed: int
) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1]
    made = {
        "conv": conv(groups * inner, groups * outer, 3, padding=1, groups=groups, bias=bias),
        "bn": norm(groups * outer, affine=affine),
    }
    x = normal(seed, 2, groups * inner, *[5] * axes)
    graph = assert_exact(FOLD, Model(made, lambda m, x: m.bn(m.conv(x)), seed), x)
    assert calls(graph, norm) == []


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans(), seeds)
def test_folding_into_transposed_convolutions(
    groups: int, inner: int, outer: int, stride: int, bias: bool, seed: int
) -> None:
    made = {
        "conv": nn.ConvTranspose2d(groups * inner, groups * outer, 3, stride, groups=groups, bias=bias),
        "bn": nn.BatchNorm2d(groups * outer),
    }
    x = normal(seed, 2, groups * inner, 5, 4)
    graph = assert_exact(
        FOLD, Model(made, lambda m, x: m.bn(m.conv(x)), seed), x, normal(seed, 1, groups * inner, 2, 7)
    )
    assert calls(graph, nn.BatchNorm2d) == []


def test_weights_that_another_layer_shares_are_not_folded_into_it() -> None:
    made = {"conv": nn.Conv2d(3, 3, 1), "tied": nn.Conv2d(3, 3, 1), "bn": nn.BatchNorm2d(3)}
    model = Model(made, lambda m, x: m.bn(m.conv(x)) + m.tied(x))
    model.tied.weight = model.conv.weight
    assert_exact(FOLD, model, X)


# -- remove-identity ---------------------------------------------------------------------------------------------------


def test_identities_and_dropouts_go() -> None:
    made = {"conv": nn.Conv2d(3, 3, 1), "identity": nn.Identity(), "drop": nn.Dropout(0.5), "bn": nn.BatchNorm2d(3)}

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        x = m.bn(m.identity(m.conv(x)))
        return m.identity(F.dropout(m.drop(x), 0.3, training=m.training))

    model = Model(made, forward)
    assert reasons(FOLD, model, X) == ["what comes before is Identity, not a convolution or linear layer"]
    graph = assert_exact(REMOVE, model, X, sites=4)
    assert [node.target for node in graph.graph.nodes] == ["x", "conv", "bn", "output"]
    assert reasons(FOLD, graph, X) == [None]


def test_a_dropout_of_evaluation_too_stays() -> None:
    model = Model({}, lambda m, x: F.dropout(x, 0.5, training=True))
    assert_refused_for_a_reason(REMOVE, model, X, "it drops values in evaluation too")


# -- logits-head -------------------------------------------------------------------------------------------------------

HEADS: dict[str, Forward] = {
    "F.log_softmax": lambda m, x: F.log_softmax(m.fc(x.mean((2, 3))), dim=1),
    "log_softmax": lambda m, x: m.fc(x.mean((2, 3))).log_softmax(-1),
    "nn.LogSoftmax": lambda m, x: m.log_softmax(m.fc(x.mean((2, 3)))),
    "softmax": lambda m, x: torch.softmax(m.fc(x.mean((2, 3))), 1),
    "nn.Softmax": lambda m, x: m.softmax(m.fc(x.mean((2, 3)))),
    "two outputs": lambda m, x: (F.log_softmax(m.fc(x.mean((2, 3))), dim=1), x),
}


def head(forward: Forward) -> Model:
    made = {"fc": nn.Linear(3, 5), "softmax": nn.Softmax(1), "log_softmax": nn.LogSoftmax(1)}
    return Model(made, forward)


@pytest.mark.parametrize("form", HEADS)
def test_a_head_goes_where_the_recipe_asks(form: str) -> None:
    model = head(HEADS[form])
    assert LogitsHead.exactness is Exactness.APPROXIMATE
    assert reasons(KEEP_ARGMAX, model, X) == [None]
    assert [str(reason)[:28] for reason in reasons(KEEP_ALL, model, X)] == ["the outputs would be logits:"]
    with torch.no_grad():
        before, after = model(X), rewritten(KEEP_ARGMAX, model, X)(X)
    before, after = (each[0] if isinstance(each, tuple) else each for each in (before, after))
    assert torch.equal(after, model.fc(X.mean((2, 3))))
    assert not torch.allclose(before, after)
    assert torch.equal(before.argsort(1), after.argsort(1)), "the order of the outputs stays"
    assert torch.allclose(before.exp() if "log" in form.lower() or "two" in form else before, after.softmax(1))


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: ((y := m.softmax(m.fc(x.mean((2, 3))))), y.sum()),
        lambda m, x: ((y := m.log_softmax(m.fc(x.mean((2, 3))))), y[:, 0]),
    ],
)
def test_probabilities_that_the_model_computes_with_stay(forward: Forward) -> None:
    assert_refused_for_a_reason(KEEP_ARGMAX, head(forward), X, "computes on with the probabilities")


def test_softmaxes_inside_a_model_are_not_its_business() -> None:
    assert reasons(KEEP_ARGMAX, head(lambda m, x: m.softmax(m.fc(x.mean((2, 3)))) * 2), X) == []


def test_a_recipe_that_asks_for_it_has_the_order_checked() -> None:
    text = """
input: {size: 8, color: rgb}
rewrites: [{name: logits-head, options: {keep: argmax}, max_drift: 10, min_top1_agreement: 1}]
"""
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    loaded = parse_recipe(text, "t", "t.yaml")
    [step] = rewrite(head(HEADS["F.log_softmax"]).float(), loaded, {"input": images}).steps
    assert len(step.applied) == 1
    assert step.drift is not None
    assert step.drift > 0.1


# -- casts -------------------------------------------------------------------------------------------------------------


class Casting(nn.Module):
    """Does its attention in float32 whatever it gets, as timm's EfficientViT does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        y = y.float().softmax(1).to(y.dtype)
        positions = torch.arange(4).float().view(1, 4, 1, 1)
        out: torch.Tensor = y * positions + (x > 0).float().mean()
        return out


def test_casts_to_float_do_not_keep_a_model_from_float64() -> None:
    model = Casting()
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    graph = trace(model, {"input": x})
    with torch.no_grad():
        assert torch.equal(graph(x), model(x))
        wide = graph.double()(x.double())
        assert wide.dtype == torch.float64
        assert torch.allclose(wide.float(), model(x), atol=1e-6)
