"""What a model does in place is done out of place in its graph, and whoever read the changed value reads the change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.refusals import changes_in_place
from tests.rewriting import Model, normal

X = normal(0, 2, 4, 6, 6)


def change(value: torch.Tensor, how: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """Change a copy by `how`, and return the whole of it."""
    y = value * 1.0
    how(y)
    return y


def a_sum(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    z = y + 1
    y += x
    return y * z + y


def a_change_between_two_readers(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    before = y.sum(1)
    y.relu_()
    return before + y.sum(1)


def a_view_that_was_made_before(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    part = y[:, :2]
    y.mul_(3)
    return part + y[:, 2:]


def a_view_that_is_changed_while_another_is_read(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    first, again = y[:, :2], y[:, 1:3]
    first += 1
    return again * first


def a_part(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, 1:3] += 1
    y[:, 0] *= 2
    y[:, 3] = x[:, 0]
    return y


def a_view_of_a_view(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 1.0
    y[:, :3][:, 1:].view(2, 2, 36).transpose(1, 2)[:, 4] += 5
    return y


def an_input(m: Model, x: torch.Tensor) -> torch.Tensor:
    x += 1
    return x * 2


def a_half(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 1.0
    first, last = y.chunk(2, 1)
    first.mul_(last)
    last.add_(first)
    return y


def what_a_reshape_copies(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 1.0
    copied, viewed = y.transpose(1, 2).reshape(2, -1), y.reshape(2, -1)
    y += 1
    return copied * viewed


def by_a_mask(m: Model, x: torch.Tensor) -> torch.Tensor:
    y = x * 1.0
    y[x > 0] = 0
    return y


FORMS: dict[str, Callable[[Model, torch.Tensor], torch.Tensor]] = {
    "a sum": a_sum,
    "a change between two readers": a_change_between_two_readers,
    "a view that was made before": a_view_that_was_made_before,
    "a view that is changed while another is read": a_view_that_is_changed_while_another_is_read,
    "a part": a_part,
    "a view of a view": a_view_of_a_view,
    "an input": an_input,
    "by a mask": by_a_mask,
    "a half": a_half,
    "what a reshape copies": what_a_reshape_copies,
    "chained": lambda m, x: (x * 1.0).add_(1).mul_(x).clamp_(0, 2).sub_(x),
    "activations": lambda m, x: F.silu(x * 1.0, inplace=True) + F.hardswish(x * 1.0, inplace=True) + (x * 2).tanh_(),
    "filled": lambda m, x: change(x, lambda y: y.fill_(2.0)) + change(x, lambda y: y[:, 1].zero_()) + x,
    "copied": lambda m, x: change(x, lambda y: y[:, :2].copy_(x[:, 2:])),
    "unsqueezed": lambda m, x: change(x, lambda y: y.unsqueeze(1).add_(1)),
    "permuted": lambda m, x: change(x, lambda y: y.permute(0, 2, 3, 1)[..., 0].add_(1)),
    "flattened": lambda m, x: change(x, lambda y: y.flatten(2)[:, :, 3].mul_(4)),
}


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_what_works_in_place_has_a_functional_form(form: str) -> None:
    """The oracle is PyTorch, which does work in place."""
    model = Model({}, FORMS[form])
    graph = trace(model, {"input": X})
    assert not [node for node in graph.graph.nodes if changes_in_place(node)]
    given = X.clone()
    torch.testing.assert_close(graph(given), model(X.clone()), rtol=0, atol=0)
    assert torch.equal(given, X), "the graph leaves what it is given"
