"""A softmax behind a model is there wherever the model runs, and changes nothing in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.output_activation import activate_outputs
from mobilekit.models.outputs import named_outputs
from mobilekit.rewrites.fx.graph import trace
from tests.tiny import Tiny


def picture(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_it_is_the_softmax_of_the_logits() -> None:
    torch.manual_seed(0)
    net = Tiny().eval()
    state = dict(net.state_dict())
    with torch.no_grad():
        logits = net(picture()).double()
        expected = (logits.exp() / logits.exp().sum(1, keepdim=True)).float()
        behind = activate_outputs(net, "softmax")
        for model in (behind, copy.deepcopy(behind), trace(behind, {"input": picture(1)})):
            (named,) = named_outputs(model(picture())).items()
            assert named[0] == "probabilities"
            torch.testing.assert_close(named[1], expected, atol=1e-6, rtol=1e-5)
    assert behind.state_dict().keys() == state.keys()


def test_without_one_the_model_stays() -> None:
    net = Tiny().eval()
    assert activate_outputs(net, None) is net
    assert list(named_outputs(net(picture()))) == ["logits"]


class Returns(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(x.mean((2, 3)))


@pytest.mark.parametrize("make", [lambda x: {"scores": x}, lambda x: (x,), lambda x: [x]])
def test_one_output_by_a_name_or_in_a_tuple_is_activated(make: Any) -> None:
    given = activate_outputs(Returns(make), "softmax")(picture())
    torch.testing.assert_close(given["probabilities"], picture().mean((2, 3)).softmax(1))


@pytest.mark.parametrize("make", [lambda x: (x, x), lambda x: x.argmax(1), lambda x: x.argmax(1, keepdim=True), list])
def test_what_is_no_one_tensor_of_logits_is_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="one tensor of logits"):
        activate_outputs(Returns(make), "softmax")(picture())
