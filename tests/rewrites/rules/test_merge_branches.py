"""Branches of one input become one convolution, whatever forms they have; what is none, or costs more, is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.fx import GraphModule

from mobilekit.recipes.load import parse_recipe
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.rules.merge_branches import MergeBranches
from tests.cases import parallel_branches
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    assert_kept,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    sizes,
    traced,
)

MERGE = MergeBranches(Options())
X = normal(0, 2, 4, 7, 9)


class Scale(nn.Module):
    """A layer scale, with a number that is added."""

    def __init__(self, channels: int, added: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.added = nn.Parameter(torch.empty(channels, 1, 1)), added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(self.gamma * x - self.added) / 3


def only_conv(graph: GraphModule) -> nn.Conv2d:
    """Return the only step of a graph."""
    [node] = [node for node in graph.graph.nodes if node.op not in ("placeholder", "output")]
    conv = graph.get_submodule(str(node.target))
    assert isinstance(conv, nn.Conv2d)
    return conv


def centered(
    channels: int,
    out: int,
    size: tuple[int, int],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    padding = (dilation * (size[0] // 2), dilation * (size[1] // 2))
    return nn.Conv2d(channels, out, size, stride, padding, dilation, groups, bias=bias)


JOINS: dict[str, Callable[[list[torch.Tensor]], torch.Tensor]] = {
    "chain": lambda parts: reduce(torch.add, parts),
    "tree": lambda parts: reduce(torch.add, parts[::2]) + reduce(torch.add, parts[1::2]),
    "python": lambda parts: 0 + sum(parts),
    "stacked": lambda parts: torch.stack(parts).sum(0),
    "mean": lambda parts: torch.stack(parts, -1).mean(-1),
    "in place": lambda parts: reduce(lambda total, part: total.add_(part, alpha=2), parts[1:], parts[0]),
    "difference": lambda parts: reduce(torch.sub, parts),
}
odd = st.sampled_from([1, 3, 5])
convs = st.tuples(odd, odd, st.booleans(), st.sampled_from(["plain", "norm", "scale", "norm, scale"]))


@quick
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.lists(convs, max_size=4),
    st.sets(st.sampled_from(["x", "norm", "scale", "pool"])), st.sampled_from(sorted(JOINS)), sizes, sizes, seeds,
)  # fmt: skip
def test_any_branches_are_one_convolution(
    groups: int, inner: int, outer: int, stride: int, more: list[tuple[int, int, bool, str]], same: set[str],
    join: str, height: int, width: int, seed: int,
) -> None:  # fmt: skip
    """Kernels, strides, groups, dilations, biases, batch norms, scales, pools and sums as people write them."""
    if same or not more:
        same, outer, stride = same | {"x"}, inner, 1
    channels, out = groups * inner, groups * outer
    layers: Layers = {"first": centered(channels, out, (5, 5), stride, 1, groups, bias=False)}
    for index, (high, wide, dilated, form) in enumerate(more):
        dilation = 2 if dilated and max(high, wide) == 3 else 1
        kept = {"conv": centered(channels, out, (high, wide), stride, dilation, groups, bias=form == "plain")}
        kept |= {"norm": nn.BatchNorm2d(out, affine=dilated)} if "norm" in form else {}
        kept |= {"scale": Scale(out, 2.0)} if "scale" in form else {}
        layers[f"branch{index}"] = nn.Sequential(*kept.values())
    own = {
        "x": nn.Identity(),
        "norm": nn.BatchNorm2d(channels),
        "scale": Scale(channels),
        "pool": nn.AvgPool2d(3, 1, 1),
    }
    layers |= {f"own {name}": own[name] for name in sorted(same)}
    model = Model(layers, lambda m, x: JOINS[join]([layer(x) for layer in m.children()]), seed)
    x = normal(seed + 1, 2, channels, height, width)
    conv = only_conv(assert_exact(MERGE, model, x))
    assert (conv.kernel_size, conv.stride, conv.groups) == ((5, 5), (stride, stride), groups)


@pytest.mark.parametrize(
    ("first", "second", "size", "padding", "dilation"),
    [
        (nn.Conv2d(4, 4, (1, 3), padding=(0, 1)), nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), (3, 3), (1, 1), (1, 1)),
        (nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 1, 2), (3, 3), (1, 1), (1, 1)),
        (nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, (2, 1), 2), (3, 3), (1, 1), (1, 1)),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), nn.Conv2d(4, 4, 1), (3, 3), (2, 2), (2, 2)),
        (nn.Conv2d(4, 4, 7, padding=3), nn.Conv2d(4, 4, 3, padding=3, dilation=3), (7, 7), (3, 3), (1, 1)),
        (nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), (3, 3), (0, 0), (1, 1)),
        (nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 1, padding="valid"), (3, 3), (1, 1), (1, 1)),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, 1, groups=4), (3, 3), (1, 1), (1, 1)),
    ],
    ids=["crossed", "stride", "to one side", "dilated", "dilated inside", "unpadded", "by name", "fewer groups"],
)  # fmt: skip
def test_the_kernel_holds_both(
    first: nn.Conv2d, second: nn.Conv2d, size: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> None:
    x = normal(0, 2, 4, 8, 9)
    conv = only_conv(assert_exact(MERGE, Model({"a": first, "b": second}, lambda m, x: m.a(x) + m.b(x)), x))
    assert (conv.kernel_size, conv.padding, conv.dilation) == (size, padding, dilation)


def layers() -> Layers:
    return {
        "three": nn.Conv2d(4, 4, 3, padding=1, groups=2),
        "one": nn.Conv2d(4, 4, 1, groups=2, bias=False),
        "norm": nn.BatchNorm2d(4),
        "outer": nn.BatchNorm2d(4),
        "other": nn.Conv2d(4, 4, 3, padding=1),
        "scale": Scale(4),
    }


@pytest.mark.parametrize(
    ("forward", "left"),
    [
        (lambda m, x: m.outer(m.three(x) + m.one(x) + x), []),
        (lambda m, x: x + m.scale(m.three(x) - m.norm(x)), []),
        (lambda m, x: m.outer(m.norm(m.three(x) + m.one(x))) * 2, []),
        (lambda m, x: x.relu() + m.three(x) + m.one(x), ["relu", "add"]),
        (lambda m, x: (m.three(x) + x.relu()) + m.one(x) + x.sigmoid(), ["relu", "sigmoid", "add", "add"]),
        (lambda m, x: x.relu() + m.scale(m.three(x)), ["relu", "add"]),
        (lambda m, x: m.three(x) + m.one(x) + x.mean((2, 3), keepdim=True), ["mean", "add"]),
        (lambda m, x: (y := m.three(x) + m.one(x)) * y.sigmoid(), ["sigmoid", "mul"]),
        (lambda m, x: (m.three(x) + m.one(x)).relu() + x, ["relu", "add"]),
        (lambda m, x: 0 + m.three(x) + 0, []),
    ],
    ids=["norm behind", "scaled difference", "norms in a row", "beside another input", "between others", "scaled alone",
         "beside a mean", "taken twice", "before an activation", "zeros"],
)  # fmt: skip
def test_what_else_is_added_stays(forward: Forward, left: list[str]) -> None:
    graph = assert_exact(MERGE, Model(layers(), forward), X)
    assert len(calls(graph, nn.Conv2d)) == 1
    steps = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert sorted(step.__name__.split(".")[0] for step in steps) == sorted(left)


def test_two_sums_in_one_and_sums_of_sums() -> None:
    """Each input has its convolution, and what is made first is the input of what comes after."""

    def forward(m: Model, x: torch.Tensor) -> torch.Tensor:
        y = x.relu()
        z = m.three(x) + m.other(y) + m.one(x) + m.norm(y)
        return (z + m.last(z)).sigmoid()

    model = Model({**layers(), "last": nn.Conv2d(4, 4, 1)}, forward)
    graph = assert_exact(MERGE, model, X, sites=2)
    assert sorted(str(node.target) for node in calls(graph, nn.Conv2d)) == ["last", "other", "three"]


def test_a_batch_norm_before_a_padded_convolution_stays() -> None:
    """Zeros of the padding are not what the batch norm makes of zeros: its result is another input."""
    assert reasons(MERGE, Model(layers(), lambda m, x: m.three(m.norm(x)) + m.one(x)), X) == []
    shared = Model(layers(), lambda m, x: m.three(y := m.norm(x)) + m.one(y) + y)
    graph = assert_exact(MERGE, shared, X)
    assert [str(node.target) for node in graph.graph.nodes if node.op == "call_module"] == ["norm", "three"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.norm(m.three(x)).relu(),
        lambda m, x: m.three(x) + 3,
        lambda m, x: m.three(x).relu() + m.one(x),
        lambda m, x: m.three(x) * m.one(x) + x.mean(),
        lambda m, x: m.norm(x) + m.scale(x),
        lambda m, x: m.three(x) * x.new_ones(4, 7, 9).cumsum(1),
        lambda m, x: m.three((y := m.one(x)).relu()) + y,
        lambda m, x: m.three(x).abs() + m.three.weight.mean(),
    ],
    ids=["a batch norm", "a number", "another input", "a product", "no convolution", "a map", "one behind the other",
         "no sum"],
)  # fmt: skip
def test_other_sums_are_not_its_business(forward: Forward) -> None:
    assert reasons(MERGE, Model(layers(), forward), X) == []


@pytest.mark.parametrize(
    ("other", "forward", "reason"),
    [
        (nn.Conv2d(4, 4, 3), lambda m, x: m.other(x) + x[:, :, 1:-1, 1:-1], "takes a part of their input"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), lambda m, x: m.other(x) + x, "other pads by reflect"),
        (nn.Identity(), lambda m, x: m.three(x) + m.one(x) + m.three(x.relu()), "three is called more than once"),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), lambda m, x: m.other(x) + m.three(x), "leave the padding out"),
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), lambda m, x: m.dense(x) + m.other(x), "5x5, 1 group, has 3.4 times"),
        (nn.Conv2d(4, 4, (1, 5), padding=(0, 2)), lambda m, x: m.other(x) + m.tall(x), "has 2.5 times their arithm"),
        (nn.Conv2d(4, 4, 2, padding="same"), lambda m, x: m.other(x) + x, "2x2 for all of them needs more padding on"),
        (nn.Conv2d(4, 4, 3, 2, 1), lambda m, x: m.other(y := x[:, :, :1, :1]) + m.one(y), "of 1x1 and 2x2"),
    ],
    ids=["unpadded", "mirrored", "called twice", "uneven means", "unlike groups", "crossed", "to one side", "steps"],
)  # fmt: skip
def test_refusals(other: nn.Module, forward: Forward, reason: str) -> None:
    further = {"other": other, "dense": nn.Conv2d(4, 4, 1), "tall": nn.Conv2d(4, 4, (5, 1), padding=(2, 0))}
    told = reasons(MERGE, Model({**layers(), **further}, forward), X)
    assert len(told) == 1
    assert reason in str(told[0]), told


def test_a_refused_group_leaves_the_others() -> None:
    """Of two inputs in one sum one has a convolution that pads by other values than zeros."""
    mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    model = Model({**layers(), "mirrored": mirrored}, lambda m, x: m.mirrored(x) + x + m.three(y := x.relu()) + y)
    graph = traced(model, X)
    [site] = MERGE.find(graph)
    assert MERGE.why_not(graph, site) is None
    merged = rewritten(MERGE, model, X)
    assert_kept(model, merged, X)
    assert sorted(str(node.target) for node in calls(merged, nn.Conv2d)) == ["mirrored", "three"]
    assert len([node for node in merged.graph.nodes if node.target is torch.ops.aten.add.Tensor]) == 2


def test_what_it_saves_is_said() -> None:
    """Of 72 + 8 products for each of 7 x 9 results of a batch of 2, 72 stay."""
    [site] = MERGE.find(traced(Model(layers(), lambda m, x: m.three(x) + m.one(x) + x), X))
    assert site.detail == f"3 branches, {-8 * 2 * 7 * 9:,} MACs"
    [site] = MERGE.find(traced(Model(layers(), lambda m, x: m.scale(m.three(x)) + x.relu()), X))
    assert site.detail == "scaled"


def test_training_forms_are_one_convolution_a_block() -> None:
    """Batch norms folded or not, and the merged model takes gradients."""
    for first in ("[{name: fold-batch-norm}, {name: merge-branches}]", "[{name: merge-branches}]"):
        recipe = parse_recipe(f"input: {{size: 32}}\nrewrites: {first}", "t", "t.yaml")
        calibration = {"input": torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
        done = rewrite(parallel_branches(), recipe, calibration)
        step = done.steps[-1]
        assert step.applied == ("1.add_1", "2.add_3")
        assert step.proof is not None
        assert step.proof.holds
        assert step.notes == ()
        assert [str(node.target) for node in calls(done.graph, nn.Conv2d)] == ["0", "1.three", "2.three"]
        assert calls(done.graph, nn.BatchNorm2d) == []
    graph = done.graph.train()
    graph(calibration["input"]).sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())
