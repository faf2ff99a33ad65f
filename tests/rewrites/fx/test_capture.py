"""A captured graph computes what the model does, in its own format and in float64, and has the model's own state."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from mobilekit.models.registry import find_model
from mobilekit.rewrites.fx.graph import path_of, trace
from mobilekit.rewrites.fx.precision import compute_in
from tests import cases
from tests.rewriting import Model, normal

aten = torch.ops.aten
NAMES = [
    name
    for name, value in vars(cases).items()
    if isinstance(value, FunctionType) and value.__module__ == cases.__name__ and not name.startswith("_")
]
FAMILIES = {"ghostnet_050": 32, "ghostnetv2_digits": 32, "shufflenet_025": 64, "efficientvit": 64}


def noise(*shape: int) -> torch.Tensor:
    return normal(3, *shape).float()


def leaves(result: Any) -> list[torch.Tensor]:
    return pytree.tree_leaves(result)


@torch.no_grad()
def check(model: nn.Module, x: torch.Tensor, exactly: bool = True) -> None:
    """The graph gives what the model does, to the bit, and in float64 nearly so; the model stays as it is."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph, wanted = trace(model, {"input": x}), leaves(model(x))
    got = leaves(graph(x))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0 if exactly else 1e-6)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    for one, other in zip(leaves(compute_in(graph, torch.float64)(x.double())), wanted, strict=True):
        if one.is_floating_point():
            assert one.dtype == torch.float64
            torch.testing.assert_close(one.float(), other, rtol=0, atol=1e-5 * max(1.0, float(other.abs().max())))
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_each_case_is_captured(name: str) -> None:
    model, size = getattr(cases, name)(), cases.SIZES.get(name, 32)
    check(model, noise(1, 3, size, size), exactly=name != "multihead_attention")


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_each_family_is_captured_for_any_batch(name: str) -> None:
    torch.manual_seed(0)
    model = find_model(name).create().eval()
    channels = 1 if "digits" in name else 3
    x = noise(3, channels, FAMILIES[name], FAMILIES[name])
    graph = trace(model, {"input": x[:1]})
    assert graph.meta["one_size"] is False
    for batch in (x[:1], x):
        assert torch.equal(graph(batch), model(batch))
    assert list(graph.state_dict()) == list(model.state_dict())


def test_a_model_for_one_image_has_a_graph_for_one() -> None:
    graph = trace(cases.written_for_a_batch_of_one(), {"input": noise(1, 3, 32, 32)})
    assert graph.meta["one_size"] is True


class Mixed(nn.Module):
    """Layers, convolutions called as functions, one on a computed weight, buffers of all kinds, and a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()
        self.kernel = nn.Parameter(torch.randn(4, 4, 1, 1))
        self.register_buffer("index", torch.tensor([2, 0, 3, 1]))
        self.register_buffer("kept", torch.tensor([True, False, True, True]))
        self.register_buffer("passing", torch.ones(4), persistent=False)
        self.same = self.a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.drop(self.norm(self.a(x)))[:, self.index] * self.passing.view(1, 4, 1, 1)
        y = F.conv2d(y, self.kernel) + F.conv2d(y, self.kernel - self.kernel.mean())
        y = y + self.same(x).masked_fill(self.kept.view(1, 4, 1, 1), 0.5)
        return y + torch.arange(y.shape[-1], dtype=torch.float32) / 7


@torch.no_grad()
def test_layers_stay_layers_and_buffers_keep_their_kinds() -> None:
    torch.manual_seed(0)
    model, x = Mixed().eval(), noise(2, 3, 8, 8)
    graph = trace(model, {"input": x})
    torch.testing.assert_close(graph(x), model(x), rtol=0, atol=0)
    assert [type(graph.get_submodule(path)) for path in ("a", "norm", "drop")] == [
        nn.Conv2d,
        nn.BatchNorm2d,
        nn.Dropout,
    ]
    convolutions = [node for node in graph.graph.nodes if node.op == "call_module" and "conv" in str(node.target)]
    assert len(convolutions) == 2, "those that are called as functions are layers too"
    buffers = dict(graph.named_buffers())
    assert (buffers["index"].dtype, buffers["kept"].dtype) == (torch.int64, torch.bool)
    wide = compute_in(graph, torch.float64)
    assert (wide.get_buffer("index").dtype, wide.get_buffer("kept").dtype) == (torch.int64, torch.bool)
    assert wide(x.double()).dtype == torch.float64
    # float32 rounds sums of some tens of products, in an order that is the processor's.
    rounding = 8 * torch.finfo(torch.float32).eps * float(model(x).abs().max())
    torch.testing.assert_close(wide(x.double()).float(), model(x), rtol=0, atol=rounding)
    assert compute_in(wide, torch.float32)(x).dtype == torch.float32


def test_float32_that_forward_makes_is_float64_to_float64s_rounding() -> None:
    """The oracle is written down in float64; an intermediate step in float32 would be 1e-8 away."""

    class Places(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            places = torch.arange(1, 9, dtype=torch.float32) / 3
            return x.float() * torch.sin(places) + torch.linspace(0, 1, 8) + torch.full((8,), 0.1)

    x = normal(0, 2, 3, 8)
    graph = compute_in(trace(Places(), {"input": x.float()}), torch.float64)
    places = torch.arange(1, 9, dtype=torch.float64) / 3
    wanted = x * torch.sin(places) + torch.linspace(0, 1, 8, dtype=torch.float64) + 0.1
    torch.testing.assert_close(graph(x), wanted, rtol=0, atol=1e-14)


SPELLINGS: dict[str, tuple[Any, list[Any]]] = {
    "relu": (
        lambda m, x: (
            m.relu(x) + m.relu_in_place(x * 1.0) + F.relu(x) + torch.relu(x) + x.relu() + F.relu(x * 1.0, inplace=True)
        ),
        [aten.relu.default] * 6,
    ),
    "clamp": (
        lambda m, x: F.relu6(x) + F.hardtanh(x, 0, 6) + x.clamp(0, 6) + torch.clip(x, min=0, max=6) + m.relu6(x),
        [aten.clamp.default] * 5,
    ),
    "one-sided clamp": (lambda m, x: x.clamp(min=1) + x.clamp_min(1) + x.clamp(max=2), [aten.clamp.default] * 3),
    "product": (lambda m, x: x * 2 * x + torch.mul(x, x) + x.multiply(x), [aten.mul.Tensor] * 4),
    "quotient": (lambda m, x: torch.true_divide(x / 2, x.square()) + x.div(3) + x.divide(5), [aten.div.Tensor] * 4),
    "reshape": (
        lambda m, x: x.view(x.shape[0], -1) + x.reshape(x.shape[0], -1) + x.clone().view(-1, 36),
        [aten.reshape.default] * 3,
    ),
    "concatenation": (
        lambda m, x: torch.cat([x, x], 1) + torch.concat([x, x], 1) + torch.concatenate([x, x], 1),
        [aten.cat.default] * 3,
    ),
    "transpose": (lambda m, x: x.transpose(2, 3) + x.swapaxes(2, 3) + x.mT, [aten.transpose.int] * 3),
    "padding": (lambda m, x: F.pad(x, (1, 1, 1, 1)) + m.pad(x), [aten.pad.default] * 2),
}


@pytest.mark.parametrize("form", SPELLINGS)
@torch.no_grad()
def test_an_operation_has_one_spelling(form: str) -> None:
    forward, wanted = SPELLINGS[form]
    layers = {"relu": nn.ReLU(), "relu_in_place": nn.ReLU(inplace=True), "relu6": nn.ReLU6(), "pad": nn.ZeroPad2d(1)}
    model, x = Model(layers, forward), normal(1, 2, 1, 6, 6)
    graph = trace(model, {"input": x})
    torch.testing.assert_close(graph(x), model(x.clone()), rtol=0, atol=0)
    found = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert [target for target in found if target is wanted[0]] == wanted
    left = {node.target for node in graph.graph.nodes if node.op == "call_function"} - {wanted[0]}
    assert left <= {aten.add.Tensor, aten.mul.Tensor, aten.square.default, aten.sym_size.int}, (
        "no other spelling is left"
    )


def test_paths_are_those_of_the_modules_in_whose_forward_a_call_stands() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 1), nn.Hardswish()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.conv(x)).sigmoid()

    net = nn.Sequential(Inner(), Inner())
    net[1].conv.weight = net[0].conv.weight  # a tied weight does not move a layer
    graph = trace(net, {"input": noise(1, 3, 4, 4)})
    paths = [path_of(node) for node in graph.graph.nodes if node.op.startswith("call")]
    assert paths == ["0.conv", "0.act", "0.sigmoid", "1.conv", "1.act", "1.sigmoid_1"]


class WithoutAutocast(nn.Module):
    """Sums that are kept from half precision by a region and by casts, as EfficientViT's attention is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        with torch.autocast("cpu", enabled=False):
            low, high = x.float() * self.scale, x.float().exp()
        return (low / high).to(x.dtype)


def test_a_region_without_autocast_is_part_of_the_graph() -> None:
    net, image = WithoutAutocast().eval(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    graph = trace(net, {"input": image})
    assert not any("autocast" in str(node.target) for node in graph.graph.nodes)
    torch.testing.assert_close(graph(image), net(image), rtol=0, atol=0)
    exact = compute_in(graph, torch.float64)(image.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), net(image), rtol=1e-5, atol=1e-6)
