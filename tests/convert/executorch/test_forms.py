"""The forms in which steps are lowered: the same function, without the step, and in one part of XNNPACK's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.executorch.environment import start
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.convert.executorch import lower as lowering
from mobilekit.convert.executorch.float_steps import float_steps
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.program.forms import Forms, in_forms
from mobilekit.errors import ToolError
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.rules.upsample_broadcast import CombineWithUpsampled
from tests.converting import normal
from tests.programs import Kept, Lowered, plain, program_in_forms

MAP = (2, 4, 6, 8)
Step = Callable[[torch.Tensor], torch.Tensor]
aten = torch.ops.aten


class Between(nn.Module):
    """A step between two convolutions, where a cut would make two parts."""

    def __init__(self, step: Step, channels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.step = nn.Conv2d(4, 4, 3, padding=1), step
        self.last = nn.Conv2d(channels, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.step(self.first(x))
        return self.last(made if made.dim() == 4 else made[..., None, None])


class Attention(nn.Module):
    """ReLU linear attention, as EfficientViT has it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = torch.cat([x, x + 1, x - 1], 1).reshape(x.shape[0], 2, -1, 48)
        query, key, value = heads.chunk(3, 2)
        context = value @ key.relu().transpose(-1, -2)
        total = key.relu().sum(-1).unsqueeze(-2)
        return ((context @ query.relu()) / (total @ query.relu() + 1e-2)).reshape(x.shape)


class Norm(nn.Module):
    """A layer norm over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """A norm of groups of channels, with weights that tell one channel from another."""

    def __init__(self, groups: int) -> None:
        super().__init__(groups, 4)
        nn.init.normal_(self.weight)
        nn.init.normal_(self.bias)


def fewer_queries(x: torch.Tensor, **settings: float) -> torch.Tensor:
    return F.scaled_dot_product_attention(x[:, :, :3], x, x.relu(), **settings)


GELU = aten.gelu.default
ATTENTION, INSTANCE_NORM = aten.scaled_dot_product_attention.default, aten.instance_norm.default
STEPS: dict[str, tuple[Step, set[object], int]] = {
    "a tensor joined with itself": (lambda x: torch.cat([x, x, x], 2), {aten.cat.default}, 4),
    "nearest upsampling": (lambda x: F.interpolate(x, scale_factor=(2, 3)), {aten.upsample_nearest2d.vec}, 4),
    "a product with an upsampled map": (
        lambda x: CombineWithUpsampled(torch.mul, "nearest")(x, F.avg_pool2d(x, 2)),
        {aten.cat.default},
        4,
    ),
    "a sum with a map upsampled along its width": (
        lambda x: CombineWithUpsampled(torch.add, "nearest")(x, F.avg_pool2d(x, (1, 4))),
        {aten.cat.default},
        4,
    ),
    "a sum with channels last": (lambda x: first(last(x) + last(x.relu())), {aten.permute.default}, 4),
    "a sum of one map with channels last": (lambda x: first(last(x) + torch.ones(4)), set(), 4),
    "a counted padding of a pool": (lambda x: F.avg_pool2d(x, 3, 2, 1), set(), 4),
    "a divisor of a pool's own": (lambda x: F.avg_pool2d(x, (2, 3), 2, divisor_override=5), set(), 4),
    "an adaptive pool": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), {aten.adaptive_avg_pool2d.default}, 4),
    "a pool to one value": (lambda x: F.adaptive_avg_pool2d(x, 1), {aten.adaptive_avg_pool2d.default}, 4),
    "a mean whose axes go": (lambda x: x.mean((2, 3)), set(), 4),
    "a mean over the channels": (lambda x: x.mean(1, keepdim=True).expand(2, 4, 6, 8), {aten.mean.dim}, 4),
    "a sum": (lambda x: x.sum((1, 3), keepdim=True) * x, {aten.sum.dim_IntList}, 4),
    "a slice of everything": (lambda x: aten.slice.Tensor(x, 1, 0, 9), {aten.slice.Tensor}, 4),
    "a channel by number": (lambda x: torch.stack([x[:, 2], x[:, -1]], 1), {aten.select.int}, 2),
    "a split": (lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1), {aten.split_with_sizes.default}, 4),
    "a negative padding": (lambda x: F.pad(x, (-1, 2, 1, -2)), {aten.pad.default}, 4),
    "a softmax over the channels": (lambda x: x.softmax(1), set(), 4),
    "a softmax over the width": (lambda x: x.softmax(-1), set(), 4),
    "whole numbers": (lambda x: (2 * x + 1 - 3) / 7, set(), 4),
    "a sum with a factor": (lambda x: torch.add(x, x.sigmoid(), alpha=3), set(), 4),
    "two clamps": (lambda x: F.hardtanh(F.relu(x), -1, 0.25), {aten.relu.default}, 4),
    "a bilinear factor that is no ratio": (
        lambda x: F.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=False),
        {aten.upsample_bilinear2d.vec},
        4,
    ),
    "GELU's tanh form": (lambda x: F.gelu(x, approximate="tanh"), {GELU}, 4),
    "numbers": (lambda x: x * torch.ones(1, 4, 1, 1) + torch.full((1, 4, 6, 1), 0.5), {aten.full.default}, 4),
    "linear attention": (Attention(), {aten.matmul.default, aten.sum.dim_IntList, aten.chunk.default}, 4),
    "a layer norm": (Norm(), {aten.layer_norm.default}, 4),
    "a group norm": (GroupNorm(2), {aten.group_norm.default}, 4),
    "a group norm of each place": (lambda x: F.group_norm(x.mean((2, 3)), 2), {aten.group_norm.default}, 4),
    "an instance norm": (nn.InstanceNorm2d(4, affine=True), {INSTANCE_NORM}, 4),
    "attention": (fewer_queries, {ATTENTION}, 4),
    "attention with a scale of its own": (lambda x: fewer_queries(x, scale=0.9), {ATTENTION}, 4),
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "a pool to one value": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample((6, 8))),
    "a pool to sizes that divide": lambda: nn.AdaptiveAvgPool2d((3, 2)),
    "nearest upsampling": lambda: nn.Upsample(scale_factor=2),
    "bilinear upsampling": lambda: nn.UpsamplingBilinear2d(scale_factor=2),
    "a softmax": lambda: nn.Softmax(1),
    "a dropout": lambda: nn.Dropout(0.5),
    "two clamps": lambda: nn.Sequential(nn.ReLU(), nn.Hardtanh(-1, 2)),
    "a padding": lambda: nn.ZeroPad2d((-1, 2, 1, -2)),
    "a group norm": lambda: GroupNorm(2),
    "an axis dropped": lambda: nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (6, 8))),
}
"""Steps as layers, which XNNPACKQuantizer finds by their classes too."""
FAULTS = ("two clamps", "a bilinear factor that is no ratio", "GELU's tanh form", "a softmax over the width")
"""Steps that ExecuTorch 1.5.1 computes wrongly, and says nothing."""


def last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def first(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def processes(executorch: None) -> Iterator[tuple[Kept, Kept]]:
    """What lowers and what runs, for all tests here."""
    both = Kept(start(lowering._WORKER)), Kept(start("mobilekit.artifacts.executorch.runtime_worker"))
    yield both
    for each in both:
        each.end()


@pytest.fixture
def lowered(
    processes: tuple[Kept, Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[nn.Module, bool], Lowered]:
    monkeypatch.setattr(lowering, "start", lambda _module: processes[0])
    return lambda net, is_in_forms: Lowered(net, MAP, tmp_path, in_forms=is_in_forms, worker=processes[1])


@pytest.mark.parametrize("name", STEPS)
def test_a_form_is_the_same_function_without_the_step(name: str) -> None:
    step, gone, channels = STEPS[name]
    net = Between(step, channels).eval()
    program, _names = program_in_forms(net, MAP)
    targets = {node.target for node in program.graph.nodes}
    assert not targets & gone
    assert {node.target for node in plain(net, MAP).graph.nodes} >= gone - {aten.pad.default}
    image = torch.from_numpy(normal(2, *MAP[1:]))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image)[0], net(image), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_form_is_taken_whole_and_right(name: str, lowered: Callable[[nn.Module, bool], Lowered]) -> None:
    step, _gone, channels = STEPS[name]
    made = lowered(Between(step, channels), True)
    assert made.outside == []
    assert len(read_pte(made.path).parts) == 1
    assert made.distance(normal(2, *MAP[1:])) < 2e-6


def test_the_steps_of_a_form_are_not_of_the_layers_class() -> None:
    program, _names = program_in_forms(Between(nn.AdaptiveAvgPool2d(1)), MAP)
    (mean,) = (node for node in program.graph.nodes if node.target is aten.mean.dim)
    path, kind = [*mean.meta["nn_module_stack"].values()][-1]
    assert (path, kind) == ("step", "form of torch.nn.modules.pooling.AdaptiveAvgPool2d")


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_quantized(
    name: str, processes: tuple[Kept, Kept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lowering, "start", lambda _module: processes[0])
    net, images = Between(LAYERS[name]()).eval(), normal(16, *MAP[1:])
    program, names = program_in_forms(net, MAP)
    settings = lowering.Quantization([images], float_steps(program, Int8()))
    path = tmp_path / "net.pte"
    lowering.lower(program, path, tmp_path, {"inputs": ["input"], "outputs": names}, settings)
    (given,) = ExecuTorchRuntime(path, processes[1]).run({"input": images}).values()
    with torch.no_grad():
        exact = net(torch.from_numpy(images)).numpy()
    assert 1e-4 < np.abs(given - exact).max() / np.abs(exact).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_without_its_form_executorch_computes_something_else(
    name: str, lowered: Callable[[nn.Module, bool], Lowered]
) -> None:
    step, _gone, channels = STEPS[name]
    assert lowered(Between(step, channels), False).distance(normal(2, *MAP[1:])) > 1e-4


def test_a_pool_whose_windows_reach_past_the_padding_stays() -> None:
    net = Between(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True))
    pools = [node for node in program_in_forms(net, MAP)[0].graph.nodes if node.target is aten.avg_pool2d.default]
    assert [node.args[1:5] for node in pools] == [([3, 3], [2, 2], [1, 1], True)]


@pytest.mark.parametrize("settings", [{"is_causal": True}, {"attn_mask": torch.ones(6, 6).tril() > 0}])
def test_attention_under_a_mask_stays(settings: dict[str, object]) -> None:
    net = Between(lambda x: F.scaled_dot_product_attention(x, x, x, **settings))
    assert ATTENTION in {node.target for node in program_in_forms(net, MAP)[0].graph.nodes}


def test_an_upsampling_by_parts_of_a_pixel_stays() -> None:
    net = Between(lambda x: F.interpolate(x, scale_factor=1.5))
    program, _names = program_in_forms(net, MAP)
    assert aten.upsample_nearest2d.vec in {node.target for node in program.graph.nodes}


def test_a_large_map_is_not_moved_for_a_product_with_a_smaller_one() -> None:
    net = Between(lambda x: CombineWithUpsampled(torch.mul, "nearest")(x, F.avg_pool2d(x, 2)))
    moves = [node for node in program_in_forms(net, MAP)[0].graph.nodes if node.target is aten.permute.default]
    assert [tuple(node.meta["val"].shape) for node in moves] == [(2, 3, 4, 4), MAP]


def test_a_clamp_that_something_else_reads_stays() -> None:
    def both(x: torch.Tensor) -> torch.Tensor:
        positive = F.relu(x)
        return F.hardtanh(positive, 0.1, 0.3) + positive

    program, _names = program_in_forms(Between(both), MAP)
    assert [node.target for node in program.graph.nodes if node.target in (aten.relu.default, aten.hardtanh.default)]


def test_a_program_of_what_it_takes_already_is_not_exported_again() -> None:
    program = plain(Between(torch.sigmoid), MAP)
    assert in_forms(program, (torch.zeros(MAP),), FORMS) is program


def test_a_form_that_is_another_function_is_refused() -> None:
    wrong = Forms(
        "ExecuTorch", {aten.sigmoid.default: lambda writer, node: writer.call(aten.tanh.default, node.args[0])}
    )
    with pytest.raises(ToolError, match=r"A form for ExecuTorch is another function: 0\.\d+ in float64"):
        in_forms(plain(Between(torch.sigmoid), MAP), (torch.zeros(MAP),), wrong)


def test_what_is_no_number_before_and_after_is_the_same() -> None:
    net = Between(lambda x: x.mean((2, 3)).log())
    assert in_forms(plain(net, MAP), (torch.zeros(MAP),), FORMS) is not None


def test_a_bound_merged_of_two_is_what_both_leave() -> None:
    values = torch.linspace(-9, 9, 181).reshape(1, 1, 1, -1)
    for first in (F.relu, F.relu6, lambda x: F.hardtanh(x, -3, 2), lambda x: x.clamp(max=4)):
        for second in (F.relu, F.relu6, lambda x: F.hardtanh(x, -5, 1), lambda x: x.clamp(3, 4), lambda x: x.clamp(-2)):
            net = nn.Sequential(_Called(first), _Called(second))
            program = in_forms(plain(net, (1, 1, 1, 181)), (values,), FORMS)
            np.testing.assert_array_equal(program.module()(values).numpy(), net(values).numpy())
            assert sum(node.op == "call_function" for node in program.graph.nodes) == 1


class _Called(nn.Module):
    def __init__(self, function: Step) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)
