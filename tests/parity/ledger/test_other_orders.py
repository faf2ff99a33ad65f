"""Float32 budgets of the smallest nets: sums in any order pass, and a small fault in one weight does not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.parity.ledger.ledger import measure
from mobilekit.parity.ledger.other_orders import MANY_TERMS, OtherOrder, run_in_other_orders
from mobilekit.parity.ledger.result import Ledger
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.stages import Stage


class TwoClamps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.clamp(torch.relu(self.a(x)), -1.0, 2.0)).mean((2, 3))


def wide_mean() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def flattened() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 4))


def group_norm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.GroupNorm(2, 8), nn.MaxPool2d(32), nn.Flatten())


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "wide mean of 64": (wide_mean, 64),
    "wide mean of 224": (wide_mean, 224),
    "two clamps": (TwoClamps, 32),
    "flattened": (flattened, 32),
    "group norm": (group_norm, 64),
}


class InARow(Runtime):
    """Runs a model with all its sums in an order that no budget was derived from, as a converted file does."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def _run(self, inputs: Arrays) -> Arrays:
        with torch.no_grad(), OtherOrder(1234):
            return {"logits": self.model(torch.from_numpy(inputs["input"])).numpy()}


def net(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return NETS[name][0]().eval()


def ledger(name: str, model: nn.Module, file: Runtime, seed: int) -> Ledger:
    """Judge what stands for a float32 file."""
    size, random = NETS[name][1], np.random.default_rng(seed)
    real, other = (random.standard_normal((4, 3, size, size), dtype=np.float32) for _ in range(2))
    graph = trace(model, {"input": torch.zeros(1, 3, size, size)})
    evaluation = Evaluation("noise", {"input": real * 0.3 + 0.5})
    return measure(model, graph, {Stage.TFLITE_FLOAT32: lambda: file}, Recipe(), evaluation, {"input": other})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_sums_in_another_order_pass(name: str, seed: int) -> None:
    model = net(name, seed)
    assert ledger(name, model, InARow(model), seed).verdict == "pass"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_a_weight_that_is_off_is_found(name: str, seed: int) -> None:
    """One weight, the largest of the last layer, by 1e-4 of itself; where it is one of 2048 of an output, by 1e-3."""
    model = net(name, seed)
    faulty = copy.deepcopy(model)
    with torch.no_grad():
        weight = list(faulty.parameters())[-2].flatten()
        weight[weight.abs().argmax()] *= 1 + (1e-3 if name == "flattened" else 1e-4)
    found = ledger(name, model, InARow(faulty), seed)
    assert {row.stage for row in found.rows if row.verdict == "fail"} == {Stage.TFLITE_FLOAT32}


@pytest.mark.parametrize("name", NETS)
def test_swapped_channels_are_found(name: str) -> None:
    model = net(name, 0)
    faulty = copy.deepcopy(model)
    with torch.no_grad():
        weight = next(faulty.parameters())
        weight[[0, 1]] = weight[[1, 0]]
    assert ledger(name, model, InARow(faulty), 0).verdict == "fail"


@pytest.mark.parametrize("terms", [100, 2 * MANY_TERMS])
def test_an_order_changes_the_rounding_alone(terms: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(terms // 4, 3, 2, padding=1), nn.Conv2d(3, 3, 3, groups=3), nn.Flatten(), nn.Linear(12, 2)
    )
    inputs = np.random.default_rng(0).standard_normal((3, terms // 4, 3, 3), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs)).numpy()
    found = [outputs["logits"] for outputs in run_in_other_orders(model.eval(), {"input": inputs})]
    assert all(np.abs(each - expected).max() < 1e-5 for each in found)
    assert any((each != found[0]).any() for each in found[1:])


@pytest.mark.parametrize("call", ["mean", "keeps", "negative", "sum", "mm", "bmm", "all"])
def test_operators_keep_their_shapes(call: str) -> None:
    x = torch.arange(120, dtype=torch.float32).reshape(2, 3, 4, 5)
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "mean": lambda: x.mean((1, 3)),
        "keeps": lambda: x.mean((3, 1), keepdim=True),
        "negative": lambda: x.mean(-1),
        "sum": lambda: x.sum((0, 2)),
        "mm": lambda: x[0, 0] @ x[1, 0].T,
        "bmm": lambda: x @ x.transpose(2, 3),
        "all": lambda: x.mean(),
    }
    with torch.no_grad():
        expected = calls[call]()
        with OtherOrder(0):
            found = calls[call]()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(nn.GroupNorm(2, 8), (2, 8, 64, 64)), (nn.LayerNorm(4096), (2, 3, 4096)), (nn.LayerNorm((64, 64)), (2, 64, 64))],
    ids=["groups", "vectors", "maps"],
)
def test_normalizations_add_in_a_row(norm: nn.Module, shape: tuple[int, ...]) -> None:
    """After a ReLU half the squares are the same number, so that one after the other is rounded to the same side."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).relu()
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    with torch.no_grad():
        exact = copy.deepcopy(norm).double()(x.double())
        own = (norm(x) - exact).norm() / exact.norm()
        with OtherOrder(0):
            other = (norm(x) - exact).norm() / exact.norm()
    assert own < 2e-7
    assert 4 * own < other < 1e-4


@pytest.mark.parametrize("layer", [nn.Conv2d(40, 6, 1), nn.Linear(40, 6)], ids=["convolution", "linear"])
def test_a_sum_can_start_with_its_bias(layer: nn.Conv2d | nn.Linear) -> None:
    """As XNNPACK's do: beside a large bias each of 40 small terms is rounded, not their sum alone."""
    draw = np.random.default_rng(0)
    x = (draw.standard_normal((5, 40)) * 1e-3).astype(np.float32)
    with torch.no_grad():
        layer.bias.fill_(0.7)
        weight, bias = layer.weight.reshape(6, 40).numpy(), layer.bias.numpy()
        total = np.broadcast_to(bias, (5, 6)).copy()
        for term in range(40):
            total += x[:, term, None] * weight[None, :, term]
        given = torch.from_numpy(x.reshape(5, 40, 1, 1) if isinstance(layer, nn.Conv2d) else x)
        with OtherOrder(0):
            made = layer(given).reshape(5, 6).numpy()
        plain = layer(given).reshape(5, 6).numpy()
    np.testing.assert_array_equal(made, total)
    exact = x.astype(np.float64) @ weight.astype(np.float64).T + bias
    assert np.abs(made - exact).max() > 2 * np.abs(plain - exact).max()
