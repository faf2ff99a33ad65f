"""Where taps stand, what they carry, and which value of the reference each is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.parity.layers.counterparts import find_counterparts
from mobilekit.parity.layers.taps import find_taps, tapped
from mobilekit.rewrites.fx.graph import trace

INPUTS = {"input": torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))}


class Net(nn.Module):
    """A convolution, and what `body` does with its result, and a head."""

    def __init__(self, body: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.same = nn.Identity()
        self.last = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)
        self.body = body
        self.norm.running_mean = torch.tensor([0.1, -0.2, 0.3, 0.0])
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.last(self.body(self, self.conv(x))).mean((2, 3)))


BODIES: dict[str, tuple[Callable[[nn.Module, torch.Tensor], torch.Tensor], list[str]]] = {
    "batch norm and activation": (lambda net, x: net.act(net.norm(x)), ["act"]),
    "through an identity": (lambda net, x: net.same(net.act(x)), ["act"]),
    "identity alone": (lambda net, x: net.same(x), ["conv"]),
    "written-out SiLU": (lambda _net, x: x * torch.sigmoid(x), ["mul"]),
    "written-out hard-swish": (lambda _net, x: x * F.relu6(x + 3) / 6, ["div"]),
    "sum with the convolution": (lambda net, x: x + net.last(net.act(x)), ["conv", "act", "last", "add"]),
    "moved only": (lambda _net, x: x.transpose(2, 3), ["conv"]),
    "moved, then activated": (lambda _net, x: F.relu(x.transpose(2, 3)), ["conv", "relu"]),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES)
def test_taps_are_after_what_a_kernel_does_in_one(
    body: Callable[[nn.Module, torch.Tensor], torch.Tensor], expected: list[str]
) -> None:
    taps = find_taps(trace(Net(body), INPUTS), INPUTS)
    steps = [tap.step for tap in taps]
    assert steps[: len(expected)] == expected
    assert steps[-1] == "head"
    assert [tap.name for tap in taps if tap.is_output] == ["logits"]


def test_a_value_that_is_overwritten_is_no_tap() -> None:
    """An artifact would show it as it was, and PyTorch as it is at the end."""
    taken = {False: ["conv", "last", "relu", "add"], True: ["conv", "relu", "add"]}
    for in_place, expected in taken.items():
        relu = torch.relu_ if in_place else torch.relu

        def body(net: nn.Module, x: torch.Tensor, relu: Callable[[torch.Tensor], torch.Tensor] = relu) -> torch.Tensor:
            inner = net.last(x)
            return x + relu(inner).transpose(2, 3) + inner

        taps = find_taps(trace(Net(body), INPUTS), INPUTS)
        assert [tap.step for tap in taps][: len(expected)] == expected


def test_sources_are_the_taps_before() -> None:
    taps = find_taps(trace(Net(lambda net, x: x + net.last(net.act(x))), INPUTS), INPUTS)
    steps = {tap.name: tap.step for tap in taps}
    sources = {tap.step: {steps[name] for name in tap.sources} for tap in taps}
    assert sources["conv"] == set()
    assert sources["act"] == {"conv"}
    assert sources["add"] == {"conv", "last"}
    assert sources["head"] == {"mean"}


def test_modules_and_lengths_of_sums() -> None:
    taps = find_taps(trace(Net(lambda net, x: net.act(net.norm(x))), INPUTS), INPUTS)
    assert [(tap.module, tap.terms) for tap in taps] == [("conv", 27), ("last", 4), ("mean", 64), ("head", 4)]


def test_a_tapped_copy_computes_the_same_and_carries_the_values() -> None:
    model = Net(lambda net, x: net.act(net.norm(x)))
    graph = trace(model, INPUTS)
    taps = find_taps(graph, INPUTS)
    copy = tapped(graph, {tap.name: tap.node.name for tap in taps if not tap.is_output}, INPUTS)
    values = copy(INPUTS["input"])
    assert list(values) == ["logits", *[tap.name for tap in taps if not tap.is_output]]
    assert torch.equal(values["logits"], model(INPUTS["input"]))
    assert torch.equal(values["tap_0"], F.relu(model.norm(model.conv(INPUTS["input"]))))
    assert isinstance(graph(INPUTS["input"]), torch.Tensor)  # the graph itself is as it was


def test_outputs_of_several_kinds_keep_their_names() -> None:
    class Several(Net):
        def forward(self, x: torch.Tensor) -> dict[str, object]:  # type: ignore[override]
            features = self.act(self.conv(x))
            return {"features": [features, self.last(features)], "mask": features.mean((2, 3))}

    graph = trace(Several(lambda _net, x: x), INPUTS)
    taps = find_taps(graph, INPUTS)
    assert {tap.step: tap.name for tap in taps} == {"act": "features_0", "last": "features_1", "mean": "mask"}
    assert list(tapped(graph, {}, INPUTS)(INPUTS["input"])) == ["features_0", "features_1", "mask"]


# Counterparts.


def _folded(model: Net) -> Net:
    """Return the same function with the batch norm folded into the convolution, in float64."""
    folded = Net(lambda net, x: net.act(x)).double()
    folded.load_state_dict(model.state_dict())
    factor = folded.norm.weight / torch.sqrt(folded.norm.running_var + folded.norm.eps)
    folded.conv.weight.data *= factor.reshape(-1, 1, 1, 1)
    folded.conv.bias.data = (folded.conv.bias - folded.norm.running_mean) * factor + folded.norm.bias
    return folded


def test_the_counterpart_of_a_folded_convolution_is_what_the_activation_gave() -> None:
    model = Net(lambda net, x: net.act(net.norm(x)))
    graph = trace(_folded(model), {name: tensor.double() for name, tensor in INPUTS.items()})
    taps = find_taps(graph, {name: tensor.double() for name, tensor in INPUTS.items()})
    found = find_counterparts(taps, graph, trace(model, INPUTS), INPUTS)
    assert [found[tap.name].path for tap in taps] == ["act", "last", "mean", "head"]
    assert all(one.distance < 1e-12 for one in found.values())


def test_a_value_that_the_reference_never_has_is_compared_with_nothing() -> None:
    """The last convolution takes twice the values and has half the weights: the steps' names are all the same."""
    model, other = Net(lambda net, x: net.act(x)), Net(lambda net, x: net.act(x))
    other.conv.weight.data *= 2
    other.conv.bias.data *= 2
    other.last.weight.data /= 2
    graph = trace(other, INPUTS)
    taps = find_taps(graph, INPUTS)
    found = find_counterparts(taps, graph, trace(model, INPUTS), INPUTS)
    assert [tap.step for tap in taps if tap.name not in found] == ["act"]


def test_swapped_channels_are_another_value() -> None:
    model, other = Net(lambda net, x: net.act(x)), Net(lambda net, x: net.act(x))
    order = [2, 0, 3, 1]
    other.conv.weight.data, other.conv.bias.data = other.conv.weight.data[order], other.conv.bias.data[order]
    other.last.weight.data = other.last.weight.data[:, order]
    graph = trace(other, INPUTS)
    taps = find_taps(graph, INPUTS)
    for approximate in (False, True):
        found = find_counterparts(taps, graph, trace(model, INPUTS), INPUTS, approximate)
        assert [tap.step for tap in taps if tap.name not in found] == ["act"]


def test_after_an_approximate_rewrite_the_same_module_nearby_is_the_counterpart() -> None:
    model, other = Net(lambda net, x: net.act(x)), Net(lambda net, x: net.act(x) + 0.02)
    graph = trace(other, INPUTS)
    taps = find_taps(graph, INPUTS)
    exact = find_counterparts(taps, graph, trace(model, INPUTS), INPUTS)
    assert exact == {}
    near = find_counterparts(taps, graph, trace(model, INPUTS), INPUTS, approximate=True)
    assert near[taps[1].name].path == "last"
    assert 1e-3 < near[taps[1].name].distance < 0.2
