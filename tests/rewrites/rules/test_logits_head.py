"""Heads that readers of the outputs can do without go where the recipe asks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.recipes.load import parse_recipe
from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.rules.logits_head import LogitsHead, LogitsHeadOptions
from tests.rewriting import (
    Forward,
    Model,
    assert_refused_for_a_reason,
    normal,
    reasons,
    rewritten,
)

KEEP_ALL = LogitsHead(LogitsHeadOptions())
KEEP_ARGMAX = LogitsHead(LogitsHeadOptions(keep="argmax"))
X = normal(1, 2, 3, 8, 7)
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
