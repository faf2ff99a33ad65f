"""Channels of unlike ranges are made alike by factors that change no bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.rewrites.base import Options, Site
from mobilekit.rewrites.contract import apply_at
from mobilekit.rewrites.fx.graph import note_shapes, trace
from mobilekit.rewrites.fx.record import record_values
from mobilekit.rewrites.rules.equalize_channels import EqualizeChannels
from tests.rewriting import Forward, Layers, Model, normal, quick, reasons, seeds, traced

X = normal(3, 1, 3, 16, 12)
PICTURES = {"input": normal(1, 16, 3, 16, 12)}


def unlike(channels: int = 16, widest: float = 100.0) -> torch.Tensor:
    """Return factors (C,) from one over the widest to the widest."""
    return torch.logspace(-1, 1, channels, dtype=torch.float64) ** torch.log10(torch.tensor(widest))


def spread(seed: int = 0) -> Model:
    """Return layers whose depthwise one makes channels of unlike ranges, which the last one's columns undo."""
    layers: Layers = {
        "a": nn.Conv2d(3, 16, 3, padding=1),
        "d": nn.Conv2d(16, 16, 3, padding=1, groups=16),
        "b": nn.Conv2d(16, 8, 1),
    }
    model = Model(layers, lambda m, x: m.b(torch.relu(m.d(torch.relu(m.a(x))))), seed)
    with torch.no_grad():
        model.d.weight *= unlike()[:, None, None, None]
        model.d.bias *= unlike()
        model.b.weight /= unlike()[None, :, None, None]
    return model


def equalized(model: nn.Module) -> tuple[GraphModule, dict[str, str]]:
    """Return the rewritten graph, and what is said of each site."""
    graph, action = traced(model, X), EqualizeChannels(Options())
    sites = [site for site in action.find(graph) if action.why_not(graph, site) is None]
    apply_at(graph, action, sites, PICTURES, {"input": X})
    assert action.find(graph) == []
    return graph, {site.path: action.left_alone(site) or action.told(site) for site in sites}


def assert_same_bits(model: nn.Module, graph: GraphModule) -> None:
    """Float64 and float32 results are the same ones, on inputs beyond the calibrated ones too."""
    with torch.no_grad():
        for x in (X, 40 * normal(9, 1, 3, 16, 12)):
            assert torch.equal(model(x), graph(x))
        single = 40 * normal(9, 1, 3, 16, 12).float()
        assert torch.equal(model.float()(single), graph.float()(single))


def test_ranges_become_alike() -> None:
    model = spread()
    graph, told = equalized(model)
    values = record_values(graph, PICTURES)
    relu = [node for node in values if node.target is torch.ops.aten.relu.default][-1]
    largest = values[relu].amax((0, 2, 3))
    before = torch.relu(model.d(torch.relu(model.a(PICTURES["input"])))).amax((0, 2, 3))
    assert before.max() / before.median() > 50
    # Down to a power of two, and by other inputs' ranges than these: 12 of the 16 tell them.
    assert largest.max() / largest.median() < 3
    assert largest.max() <= 2 * before.max()
    assert told["d"].split(" channels")[0] in {f"{count} of 16" for count in range(10, 16)}
    assert_same_bits(model, graph)


def test_a_channel_without_values_takes_no_digits_of_the_others() -> None:
    """Dead channels keep wide weights behind, whose step is of an output channel and not of an input channel."""
    model = spread()
    dead = 4
    with torch.no_grad():
        model.d.weight[dead], model.d.bias[dead] = 0.0, -1.0
    assert model.b.weight[:, dead].abs().max() > 2 * model.b.weight[:, 8:].abs().max()
    graph, told = equalized(model)
    columns = graph.b.weight.abs().amax((0, 2, 3))
    others = columns[torch.arange(16) != dead].max()
    assert others / 2 < columns[dead] <= 2 * others  # a power of two
    assert "channels" in told["d"]
    assert_same_bits(model, graph)


def test_what_gains_nothing_stays() -> None:
    """Channels of like ranges, and unlike ones whose weights behind say that the small ones matter little."""
    model = spread()
    with torch.no_grad():
        model.b.weight *= unlike()[None, :, None, None]
        model.d.weight /= unlike()[:, None, None, None]
        model.d.bias /= unlike()
        model.d.weight *= unlike(widest=3.0)[:, None, None, None]
        model.b.weight *= unlike(widest=1000.0)[None, :, None, None]
    graph, told = equalized(model)
    assert told["d"] == "int8 would not have half of the noise for it"
    assert torch.equal(graph.b.weight, model.b.weight)


def test_no_factor_takes_a_weight_below_what_float16_has_digits_for() -> None:
    model = spread()
    with torch.no_grad():
        model.b.weight[:, :4] *= 1e-7
    graph, _ = equalized(model)
    columns = graph.b.weight.abs().amax((0, 2, 3))
    assert torch.equal(columns[:4], model.b.weight.abs().amax((0, 2, 3))[:4])  # below it already
    assert columns[4:].min() >= 2.0**-12


def test_without_inputs_nothing_changes() -> None:
    model, action = spread(), EqualizeChannels(Options())
    graph = traced(model, X)
    apply_at(graph, action, action.find(graph), None)
    assert all(torch.equal(graph.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def _between(m: Model, x: torch.Tensor, names: list[str]) -> torch.Tensor:
    for name in names:
        x = BETWEEN[name](m, x)
    return x


BETWEEN: dict[str, Forward] = {
    "relu": lambda m, x: torch.relu(x),
    "leaky": lambda m, x: F.leaky_relu(x, 0.2),
    "prelu": lambda m, x: m.prelu(x),
    "sum": lambda m, x: x + m.same(x),
    "gate": lambda m, x: x * torch.sigmoid(m.gate(x)),
    "scaled": lambda m, x: 3 * x / 7,
    "concat": lambda m, x: torch.cat([x[:, 4:], torch.relu(m.narrow(x))], 1),
    "shuffle": lambda m, x: F.channel_shuffle(x, 2),
    "split": lambda m, x: torch.cat([*torch.chunk(x, 2, 1)][::-1], 1),
    "average": lambda m, x: F.avg_pool2d(x, 3, 1, 1),
    "largest": lambda m, x: F.max_pool2d(x, 3, 1, 1),
    "upsample": lambda m, x: F.interpolate(x, scale_factor=2.0)[..., ::2, ::2],
    "pad": lambda m, x: F.pad(x, (1, 1, 1, 1))[..., 1:-1, 1:-1],
    "grouped": lambda m, x: m.grouped(x),
}


@quick
@given(st.lists(st.sampled_from(sorted(BETWEEN)), max_size=4, unique=True), seeds)
def test_what_carries_a_factor_gives_the_same_bits(names: list[str], seed: int) -> None:
    layers: Layers = {
        "a": nn.Conv2d(3, 8, 3, padding=1),
        "d": nn.Conv2d(8, 8, 3, padding=1, groups=8),
        "same": nn.Conv2d(8, 8, 1),
        "gate": nn.Conv2d(8, 8, 1),
        "narrow": nn.Conv2d(8, 4, 1),
        "prelu": nn.PReLU(8),
        "grouped": nn.Conv2d(8, 8, 1, groups=2),
        "last": nn.Linear(8, 5),
    }
    model = Model(layers, lambda m, x: m.last(_between(m, m.d(torch.relu(m.a(x))), names).mean((2, 3))), seed)
    with torch.no_grad():
        model.d.weight *= unlike(8)[:, None, None, None]
        model.a.weight *= unlike(8).flip(0)[:, None, None, None]
    graph, told = equalized(model)
    assert any(" times" in text for text in told.values())
    assert_same_bits(model, graph)


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda m, x: torch.clamp(m.a(x), 0, 6), "clamp clamps it"),
        (lambda m, x: torch.sigmoid(m.a(x)), "sigmoid does not carry a factor"),
        (lambda m, x: m.a(x) + 1, "add does not carry a factor"),
        (lambda m, x: F.pad(m.a(x), (1, 1, 1, 1), value=1.0), "pad does not carry a factor"),
        (lambda m, x: m.a(x) * m.a(x), "a does not carry a factor"),
        (lambda m, x: F.normalize(m.a(x)), "does not carry a factor"),
    ],
)
def test_what_does_not_carry_a_factor_is_named(between: Forward, reason: str) -> None:
    model = Model({"a": nn.Conv2d(3, 8, 1), "b": nn.Conv2d(8, 8, 1)}, lambda m, x: m.b(between(m, x)))
    told = reasons(EqualizeChannels(Options()), model, X)
    assert all(told) or not told
    assert not told or any(reason in str(text) for text in told), told


def test_an_output_keeps_its_scale() -> None:
    model = Model({"a": nn.Conv2d(3, 8, 1), "b": nn.Conv2d(8, 8, 1)}, lambda m, x: (m.a(x), m.b(m.a(x))))
    assert reasons(EqualizeChannels(Options()), model, X) == []  # the layer is called twice
    model.body = lambda m, x: (y := m.a(x), m.b(torch.relu(y)))
    assert reasons(EqualizeChannels(Options()), model, X) == ["the model gives it out"]


def test_numbers_without_axes_are_no_obstacle() -> None:
    model = spread()
    body = model.body
    model.body = lambda m, x: (y := body(m, x)) / (1 + y.mean().abs())
    graph, told = equalized(model)
    assert "times" in told["d"]
    assert_same_bits(model, graph)


def test_two_sites_may_share_a_layer() -> None:
    """What one site made of a layer is kept by the next one."""
    model = spread()
    graph = trace(model, {"input": X})
    note_shapes(graph, {"input": X})
    action = EqualizeChannels(Options())
    sites: list[Site] = action.find(graph)
    assert [site.path for site in sites] == ["a", "d"]
    apply_at(graph, action, sites[1:], PICTURES, {"input": X})
    assert_same_bits(model, graph)
