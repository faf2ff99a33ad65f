"""Which steps stay in float where a program is quantized."""

from __future__ import annotations

import torch
from torch import nn

from mobilekit.convert.executorch.float_steps import float_steps
from mobilekit.recipes.schema import Int8
from tests.programs import program_in_forms


class Net(nn.Module):
    """A residual sum, a quotient of what a convolution and a sum make, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.scale = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norm = nn.LayerNorm(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.branch(x)
        x = (2.0 * x) / (self.scale(x).relu() + 1.0)
        return self.head(self.norm(x.sum((2, 3))))


PROGRAM, _NAMES = program_in_forms(Net(), (1, 3, 4, 4))
ORDER = [node.name for node in PROGRAM.graph.nodes if node.op == "call_function"]
TARGETS = {node.name: str(node.target) for node in PROGRAM.graph.nodes}


def kept(**settings: object) -> list[str]:
    return [TARGETS[name].removeprefix("aten.") for name in float_steps(PROGRAM, Int8.model_validate(settings))]


FORMULA = ["linear.default", "mul.Tensor", "sub.Tensor", "mul.Tensor", "linear.default", "mul.Tensor"]
FORMULA += ["add.Tensor", "rsqrt.default", "mul.Tensor", "mul.Tensor", "add.Tensor"]


def test_sums_by_ones_and_formulas_of_norms_always_stay() -> None:
    assert kept() == ["linear.default", *FORMULA]


def test_a_residual_sum_stays_alone() -> None:
    assert kept(keep_float=["residual-add"]) == ["add.Tensor", "linear.default", *FORMULA]


def test_a_quotient_stays_with_what_leads_to_it_from_the_layers_before() -> None:
    before = ["add.Tensor", "mul.Tensor", "relu.default", "add.Tensor", "div.Tensor"]
    assert kept(keep_float=["division"])[:5] == before


def test_a_module_stays_whole() -> None:
    assert kept(float_modules=["branch", "head"]) == ["conv2d.default", "linear.default", *FORMULA, "linear.default"]


class Sizes(nn.Module):
    """Sizes by an exponential that are moved and go to a layer, and a map that none is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(nn.functional.softplus(2.0 * x) + 5.0) * x.relu()


def test_exponentials_stay_with_all_between_the_layers_before_and_after() -> None:
    program, _names = program_in_forms(Sizes(), (1, 3, 4, 4))
    targets = {node.name: str(node.target) for node in program.graph.nodes}
    steps = float_steps(program, Int8(keep_float=("exponential",)))
    assert [targets[name] for name in steps] == ["aten.mul.Tensor", "aten.softplus.default", "aten.add.Tensor"]


class Mixed(nn.Module):
    """A transposed convolution by weights that it mixes from the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.weights = nn.Conv2d(3, 3, 1), nn.Parameter(torch.ones(2, 3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return nn.functional.conv_transpose2d(x, self.weights[0] * x.mean() + self.weights[1])


def test_a_layer_by_computed_weights_stays() -> None:
    program, _names = program_in_forms(Mixed(), (1, 3, 4, 4))
    targets = (torch.ops.aten.conv2d.default, torch.ops.aten.conv_transpose2d.input)
    convolutions = [node.name for node in program.graph.nodes if node.target in targets]
    assert [name in float_steps(program, Int8()) for name in convolutions] == [False, True]
