"""Hard-sigmoid as ReLU6: the function stays, and shift and factor go into weights wherever these can take them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.relu6_gate import ReLU6Gate
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    normal,
    quick,
    reasons,
    seeds,
    sizes,
    traced,
)

aten = torch.ops.aten
RELU6 = ReLU6Gate(Options())
X = normal(1, 2, 3, 8, 9)
FREE = "the shift goes into the bias before, 1/6 goes into last"


def layers(**others: nn.Module) -> Layers:
    return {
        "squeeze": nn.Conv2d(3, 3, 1),
        "last": nn.Conv2d(3, 4, 3, padding=1),
        "other": nn.Conv2d(3, 4, 1),
        "linear": nn.Linear(3, 3),
        "bn": nn.BatchNorm2d(3),
        "gate": nn.Hardsigmoid(),
        "gate_in_place": nn.Hardsigmoid(inplace=True),
        **others,
    }


def details(model: nn.Module, x: torch.Tensor) -> list[str]:
    return [site.detail for site in RELU6.find(traced(model, x))]


def squeezed(m: Model, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = m.squeeze(x.mean((2, 3), keepdim=True))
    return y


FREE_GATES: dict[str, Forward] = {
    "nn.Hardsigmoid": lambda m, x: m.last(x * m.gate(squeezed(m, x))),
    "in place": lambda m, x: m.last(x * m.gate_in_place(squeezed(m, x))),
    "F.hardsigmoid": lambda m, x: m.last(F.hardsigmoid(squeezed(m, x)) * x),
    "x.mul": lambda m, x: m.last(x.mul(F.hardsigmoid(squeezed(m, x)))),
    "linear": lambda m, x: m.last(x * F.hardsigmoid(m.linear(x.mean((2, 3)))).view(x.shape[0], -1, 1, 1)),
    "upsampled": lambda m, x: m.last(
        x * F.interpolate(F.hardsigmoid(m.squeeze(F.avg_pool2d(x, 2))), x.shape[2:], mode="bilinear")
    ),
    "through relu, pools and slices": lambda m, x: m.last(
        F.max_pool2d(F.relu(x * m.gate(squeezed(m, x)))[:, :3], 3, 2, 1)
    ),
    "batch norm after the layer that takes 1/6": lambda m, x: m.bn(m.other3(x * m.gate(squeezed(m, x)))),
}


@pytest.mark.parametrize("form", FREE_GATES)
def test_gates_between_layers_become_free(form: str) -> None:
    model = Model(layers(other3=nn.Conv2d(3, 3, 1)), FREE_GATES[form])
    assert details(model, X) == [FREE.replace("last", "other3") if "batch norm" in form else FREE]
    graph = assert_exact(RELU6, model, X, normal(2, 1, 3, 5, 6), 4 * X)
    targets = [node.target for node in graph.graph.nodes]
    assert targets.count(aten.clamp.default) == 1
    assert targets.count(aten.mul.Tensor) == 1, "the gate's product with x"
    assert aten.add.Tensor not in targets
    assert RELU6.find(graph) == []


@quick
@given(st.booleans(), st.booleans(), st.sampled_from([1, 2, 4]), st.integers(1, 2), st.booleans(), sizes, sizes, seeds)
def test_any_layers_take_shift_and_factor(
    bias: bool, bias_after: bool, groups: int, stride: int, relu: bool, height: int, width: int, seed: int
) -> None:
    made = {
        "before": nn.Conv2d(4, 4, 3, 1, 1, groups=groups, bias=bias),
        "after": nn.Conv2d(4, 8, 3, stride, 1, groups=groups, bias=bias_after, padding_mode="reflect"),
    }

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        y = x * F.hardsigmoid(m.before(x))
        return m.after(y.relu() if relu else y)

    model = Model(made, forward, seed)
    x = normal(seed, 2, 4, height, width)
    assert details(model, x) == [FREE.replace("last", "after")]
    assert_exact(RELU6, model, x, normal(seed, 1, 4, height + 3, width + 2))


def test_two_gates_on_one_product_each_leave_a_sixth() -> None:
    """GhostNetV2's blocks, with a hard-sigmoid for DFC too: the second gate's input sees the first one's product."""

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        y = x * m.gate(m.dfc(x))
        return m.last(y * m.gate(m.expand(m.squeeze(y.mean((2, 3), keepdim=True)).relu())))

    model = Model(layers(dfc=nn.Conv2d(3, 3, 1), expand=nn.Conv2d(3, 3, 1)), forward)
    told = details(model, X)
    assert told[0] == "the shift goes into the bias before, 1/6 goes into squeeze, last"
    assert told[1] == FREE
    before = [model.last.weight.clone(), model.squeeze.weight.clone()]
    graph = assert_exact(RELU6, model, X, 2 * X, sites=2)
    assert torch.allclose(graph.get_submodule("last").weight * 36, before[0], rtol=1e-12)
    assert torch.allclose(graph.get_submodule("squeeze").weight * 6, before[1], rtol=1e-12)
    assert torch.equal(model.last.weight, before[0])


# What stays in the graph, and which mistake would be made if it went into weights.
STAYS: dict[str, tuple[Forward, str]] = {
    "no layer before": (lambda m, x: m.last(x * m.gate(x[:, :1])), "the shift stays, 1/6 goes into last"),
    "the layer before has other users": (
        lambda m, x: m.last((y := squeezed(m, x)) * x * m.gate(y)),
        "the shift stays, 1/6 goes into last",
    ),
    "the layer before is called twice": (
        lambda m, x: m.last(m.squeeze(x) * m.gate(m.squeeze(x.relu()))),
        "the shift stays, 1/6 goes into last",
    ),
    "batch norm before": (lambda m, x: m.last(x * m.gate(m.bn(m.squeeze(x)))), "the shift stays, 1/6 goes into last"),
    "nothing after": (lambda m, x: x * m.gate(squeezed(m, x)), "the shift goes into the bias before, 1/6 stays"),
    "the layer after is called twice": (
        lambda m, x: m.last(x * m.gate(squeezed(m, x))) + m.last(x),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "a sum after": (
        lambda m, x: m.last(x * m.gate(squeezed(m, x)) + x),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "a sigmoid after": (
        lambda m, x: m.last((x * m.gate(squeezed(m, x))).sigmoid()),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "batch norm after": (
        lambda m, x: m.last(m.bn(x * m.gate(squeezed(m, x)))),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "a square": (
        lambda m, x: m.last((y := m.gate(squeezed(m, x)) * x) * y),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "a product with itself": (
        lambda m, x: m.last((y := m.gate(squeezed(m, x)) * x) * y.relu()),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "a divisor": (
        lambda m, x: m.last(x / (m.gate(squeezed(m, x)) + 1)),
        "the shift goes into the bias before, 1/6 stays",
    ),
    "a layer and the output": (
        lambda m, x: m.last(y := x * m.gate(squeezed(m, x))).mean() + y,
        "the shift goes into the bias before, 1/6 stays",
    ),
}


@pytest.mark.parametrize("form", STAYS)
def test_what_weights_cannot_take_stays_in_the_graph(form: str) -> None:
    forward, told = STAYS[form]
    model = Model(layers(), forward)
    assert details(model, X) == [told]
    graph = assert_exact(RELU6, model, X, 3 * X)
    targets = [node.target for node in graph.graph.nodes]
    before = [node.target for node in traced(model, X).graph.nodes]
    assert targets.count(aten.mul.Tensor) - before.count(aten.mul.Tensor) == ("1/6 stays" in told)
    assert targets.count(aten.add.Tensor) - before.count(aten.add.Tensor) == ("shift stays" in told)


@pytest.mark.parametrize("form", [form for form, (_, told) in STAYS.items() if "1/6 stays" in told])
def test_a_sixth_in_the_weights_would_be_wrong_there(form: str) -> None:
    """The oracle: scale the weights of `last` and the gate; where the function stayed, the caution would be idle."""
    forward, _ = STAYS[form]
    if form == "nothing after":
        return
    wrong = Model(layers(gate=nn.ReLU6()), forward)
    with torch.no_grad():
        wrong.squeeze.bias += 3
        wrong.last.weight /= 6
        assert relative_error(Model(layers(), forward)(X), wrong(X)) > 1e-3


def test_a_weight_that_other_layers_share_is_not_changed_for_them() -> None:
    model = Model(
        layers(tied=nn.Conv2d(3, 4, 3, padding=1)), lambda m, x: m.last(x * m.gate(squeezed(m, x))) + m.tied(x)
    )
    model.tied.weight = model.last.weight
    assert_exact(RELU6, model, X)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda m, x: (y := m.squeeze(x)) * m.gate(y), "it is a Hard-Swish; fuse-hard-swish"),
        (lambda m, x: m.gate(y := m.squeeze(x)).mul(y), "it is a Hard-Swish; fuse-hard-swish"),
    ],
)
def test_a_hard_swish_is_left_whole(forward: Forward, reason: str) -> None:
    told = reasons(RELU6, Model(layers(), forward), X)
    assert len(told) == 1
    assert reason in str(told[0])


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.last(m.gate_in_place(y := m.squeeze(x)) * x) + y.mean(),
        lambda m, x: m.last(F.hardsigmoid(y := m.squeeze(x), inplace=True) * x) + y.mean(),
    ],
)
def test_gates_that_overwrite_what_others_take_stay_exact(forward: Forward) -> None:
    """What is read of a value after a change in place is the changed one."""
    assert_exact(RELU6, Model(layers(), forward), X, 3 * X)
