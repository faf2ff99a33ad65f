"""What of a graph int8 leaves in float, word by word, and where it is rounded."""

from __future__ import annotations

import torch
from torch import nn

from mobilekit.parity.ledger.float_nodes import float_nodes, float_results
from mobilekit.parity.ledger.format_error import SOFTMAX_RANGE, FakeQuantInt8
from mobilekit.parity.ledger.rounding import round_to_256_steps
from mobilekit.rewrites.fx.graph import trace

IMAGE = {"input": torch.zeros(1, 3, 8, 8)}


class Quotient(nn.Module):
    """Two convolutions; the first one's output is split, and one half divided by the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.first(x)
        return self.second(features[:, :2] / (features[:, 2:].relu() + 1)) * 0.5


def test_the_simulation_leaves_what_leads_to_a_division() -> None:
    graph = trace(Quotient(), IMAGE)
    kept = {node.name for node in FakeQuantInt8(graph, ["division"]).unrounded}
    assert {"div", "add", "relu"} <= kept
    assert not kept & {"x", "first", "second", "mul"}
    assert FakeQuantInt8(graph).unrounded == set()


def test_a_division_by_a_number_is_no_quotient() -> None:
    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 2

    assert FakeQuantInt8(trace(Halves(), IMAGE), ["division"]).unrounded == set()


class Block(nn.Module):
    """A transformer's block: attention and a layer, each after a layer norm and beside an identity."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm1, self.norm2, self.layer, self.act = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(self.norm1(tokens)).chunk(3, dim=-1)
        weights = (query @ key.transpose(1, 2)).softmax(-1)
        tokens = tokens + self.mix(weights @ value)
        return tokens + self.act(self.layer(self.norm2(tokens)))


def test_attention_is_what_leads_to_products_of_computed_matrices_and_to_softmaxes() -> None:
    graph = trace(Block(), IMAGE)
    kept = {node.name for node in float_nodes(graph, ["attention"])}
    assert {"matmul", "matmul_1", "softmax", "chunk", "transpose_1"} <= kept
    assert not kept & {"x", "embed", "flatten", "qkv", "norm1", "norm2", "mix", "layer", "act", "add", "add_1"}


def test_normalizations_are_the_sums_before_them_and_what_follows_up_to_the_next_layer() -> None:
    graph = trace(Block(), IMAGE)
    kept = {node.name for node in float_nodes(graph, ["normalization"])}
    assert {"flatten", "transpose", "norm1", "add", "norm2"} <= kept
    assert not kept & {"x", "embed", "qkv", "matmul", "softmax", "mix", "layer", "act", "add_1"}


def test_a_norm_written_out_is_kept_up_to_the_next_layer() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.second = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.act(self.first(x))
            return self.second(y * torch.rsqrt((y * y).mean(-1, keepdim=True) + 1e-5)) * 2

    kept = {node.name for node in float_nodes(trace(Root(), {"input": torch.zeros(1, 4)}), ["normalization"])}
    assert kept == {"mul", "mean", "add", "rsqrt", "mul_1"}, "the ReLU is one op with its layer"


class Residual(nn.Module):
    """A convolution beside an identity, a bias that is a tensor, a ReLU after the sum, and another convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1)
        self.register_buffer("bias", torch.full((1, 3, 1, 1), 0.125))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.first(x) + x)
        return self.second(y + self.bias) + self.second(y + 1)


def test_sums_are_of_two_computed_tensors_with_the_relu_in_the_same_op() -> None:
    assert {node.name for node in float_results(trace(Residual(), IMAGE), ["residual-add"])} == {"add", "relu", "add_3"}


def test_an_identity_after_a_sum_is_no_op_that_would_round() -> None:
    class Skipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.skip, self.second = nn.Conv2d(3, 3, 1), nn.Dropout(), nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.first(x)
            return self.second(x) + self.skip(x)

    assert {node.name for node in float_results(trace(Skipped(), IMAGE), ["residual-add"])} == {"add", "skip", "add_1"}


class TwoSums(nn.Module):
    """Two sums, and what a convolution makes of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv((x + x.relu()) + x.abs())
        return out


def test_a_sum_in_float_is_rounded_where_an_int8_op_takes_it_and_nowhere_else() -> None:
    fine, first_sum, second_sum = (-1.0, 1.0), (-1000.0, 1000.0), (-0.5, 12.0)
    ranges = {"x": fine, "relu": fine, "abs_1": fine, "add": first_sum, "add_1": second_sum, "conv": (-50.0, 77.0)}
    x = torch.linspace(-1, 1, 101).reshape(1, 1, 1, 101)
    graph = trace(TwoSums(), {"input": x})
    assert {node.name for node in graph.graph.nodes} == {*ranges, "output"}
    parts = [round_to_256_steps(one, *fine) for one in (x, x.relu(), x.abs())]

    def simulated(*words: str) -> torch.Tensor:
        with torch.no_grad():
            return FakeQuantInt8(graph, words, ranges)(x)

    once = round_to_256_steps(sum(parts, torch.zeros(())), *second_sum)
    assert torch.equal(simulated("residual-add"), round_to_256_steps(once, *ranges["conv"]))
    twice = round_to_256_steps(round_to_256_steps(parts[0] + parts[1], *first_sum) + parts[2], *second_sum)
    assert torch.equal(simulated(), round_to_256_steps(twice, *ranges["conv"]))
    assert not torch.equal(simulated(), simulated("residual-add"))


class Sizes(nn.Module):
    """Sizes by an exponential, which are given and go to a convolution; and their shares."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sizes = x.exp() + 100
        return sizes, self.conv(sizes), x.softmax(-1)


def test_what_stays_in_float_is_rounded_where_an_int8_op_takes_it_and_not_as_an_output() -> None:
    x = torch.linspace(-1, 1, 101).reshape(1, 1, 1, 101)
    graph, (low, high) = trace(Sizes(), {"input": x}), (0.0, 200.0)
    ranges = {"x": (-1.0, 1.0), "add": (low, high), "conv": (low, 2 * high)}
    with torch.no_grad():
        sizes, conv, shares = FakeQuantInt8(graph, ["exponential", "attention"], ranges)(x)
    rounded = round_to_256_steps(x, -1.0, 1.0)
    assert torch.equal(sizes, rounded.exp() + 100)
    assert torch.equal(conv, round_to_256_steps(round_to_256_steps(sizes, low, high), low, 2 * high))
    assert torch.equal(shares, round_to_256_steps(rounded.softmax(-1), *SOFTMAX_RANGE))
    assert torch.equal(shares * 256, (shares * 256).round())


class Places(nn.Module):
    """The mean place of a map's softmax, and attention over two branches, which weighs maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.first(x)
        place = (maps.flatten(2).softmax(-1) * torch.linspace(-1, 1, 64)).sum(-1)
        return place * 2, (maps * maps.mean((2, 3), keepdim=True).softmax(1)).sum(1)


def test_the_simulation_leaves_means_of_places_that_a_softmax_weighs() -> None:
    graph = trace(Places(), IMAGE)
    kept = {node.name for node in float_nodes(graph, ["coordinates"])}
    assert {"softmax", "mul", "sum_1", "mul_1"} <= kept
    assert not kept & {"first", "mul_2", "sum_2", "mean", "softmax_1"}
