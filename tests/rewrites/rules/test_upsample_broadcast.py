"""Nearest upsampling in forms of four axes: every bit stays, at whole factors and at one more."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional as F

from mobilekit.artifacts.inspect import inspect
from mobilekit.convert.onnx import write_onnx
from mobilekit.rewrites.fx.depth_to_space import depth_to_space, repeat
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.lowered import Lowered
from mobilekit.rewrites.rules.upsample_broadcast import (
    CombineWithUpsampled,
    Form,
    NearestUpsample,
    UpsampleBroadcast,
    UpsampleOptions,
    enlarge,
    repeats,
)
from tests.axes import most_axes_in, most_axes_of
from tests.converting import Converted
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_exact,
    calls,
    normal,
    quick,
    reasons,
    rewritten,
    seeds,
    traced,
)

UP = UpsampleBroadcast(UpsampleOptions())
TO_SPACE = UpsampleBroadcast(UpsampleOptions(form="depth-to-space"))


def layers() -> Layers:
    return {
        "conv": nn.Conv2d(3, 3, 3, padding=1),
        "up": nn.Upsample(scale_factor=2),
        "up_rows": nn.Upsample(scale_factor=(3, 1), mode="nearest"),
        "up_exact": nn.Upsample(scale_factor=2, mode="nearest-exact"),
        "up_to": nn.Upsample(size=(16, 18)),
        "up_2d": nn.UpsamplingNearest2d(scale_factor=2),
        "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    }


def gated(m: Model, x: torch.Tensor) -> torch.Tensor:
    """As DFC attention does: at half the size, rounded down."""
    small = m.conv(F.avg_pool2d(x, 2)).sigmoid()
    return x * F.interpolate(small, size=(x.shape[2], x.shape[3]), mode="nearest")


FORMS: dict[str, tuple[Forward, type[nn.Module]]] = {
    "gate": (gated, CombineWithUpsampled),
    "gate first": (lambda m, x: F.interpolate(F.avg_pool2d(m.conv(x), 2), x.shape[2:]).mul(x), CombineWithUpsampled),
    "lateral sum": (lambda m, x: m.conv(x) + m.up(F.avg_pool2d(x, 2)), CombineWithUpsampled),
    "torch.add": (lambda m, x: torch.add(F.interpolate(x[:, :, ::2, ::2], x.shape[2:]), x), CombineWithUpsampled),
    "concatenated": (lambda m, x: torch.cat([m.conv(x), m.up(F.avg_pool2d(x, 2))], 1), NearestUpsample),
    "used twice": (lambda m, x: (y := m.up(x)) * y.mean() + m.up_2d(x).mean(), NearestUpsample),
    "smaller partner": (lambda m, x: m.up(x) * x.mean((2, 3), keepdim=True), NearestUpsample),
    "in place": (lambda m, x: x.mul_(m.up(F.avg_pool2d(x, 2))) + x, CombineWithUpsampled),
    "scaled sum": (lambda m, x: torch.add(x, m.up(F.avg_pool2d(x, 2)), alpha=2), NearestUpsample),
    "rows": (lambda m, x: m.conv(m.up_rows(x)), NearestUpsample),
    "exact mode": (lambda m, x: m.conv(m.up_exact(x)), NearestUpsample),
    "to a size": (lambda m, x: m.conv(m.up_to(x)), NearestUpsample),
    "to one length": (lambda m, x: F.interpolate(m.conv(x), 72), NearestUpsample),
    "positional": (lambda m, x: F.interpolate(m.conv(x), None, 3, "nearest"), NearestUpsample),
}


@pytest.mark.parametrize("up", [UP, TO_SPACE], ids=["broadcast", "depth to space"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_found_and_kept(form: str, up: UpsampleBroadcast) -> None:
    forward, kind = FORMS[form]
    model = Model(layers(), forward)
    x = normal(1, 2, 3, 8, 18 if "size" in form else 6)
    sites = 2 if form == "used twice" else 1
    graph = assert_exact(up, model, x, sites=sites)
    assert len(calls(graph, kind)) == sites
    assert up.find(graph) == []
    assert most_axes_of(graph, x) == 4
    assert len(calls(traced(graph, x), kind)) == sites, "a second trace keeps it whole"


@quick
@given(st.integers(4, 21), st.integers(4, 21), st.integers(4, 21), st.integers(4, 21), seeds)
def test_a_gate_keeps_every_bit_at_all_sizes(height: int, width: int, h: int, w: int, seed: int) -> None:
    """Half of an odd size is rounded down, so that its first row or column is there three times."""
    model = Model(layers(), gated, seed)
    x, other = normal(seed, 1, 3, height, width), normal(seed + 1, 2, 3, h, w)
    for up in (UP, TO_SPACE):
        graph = assert_exact(up, model, x, other)
        with torch.no_grad():
            assert torch.equal(model(x), graph(x))
            assert torch.equal(model(other), graph(other))
        assert most_axes_of(graph, x) == most_axes_of(graph, other) == 4


@quick
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1), st.integers(0, 1))
def test_enlarging_is_torchs_own_nearest_upsampling(
    h: int, w: int, rows: int, columns: int, top: int, left: int
) -> None:
    x = normal(h, 2, 3, h, w)
    size = (rows * h + top, columns * w + left)
    row_plan, column_plan = repeats(h, size[0]), repeats(w, size[1])
    if h > 1 and w > 1:
        assert row_plan == (rows, top)
        assert column_plan == (columns, left)
    assert row_plan is not None
    assert column_plan is not None
    for form in get_args(Form):
        made = enlarge(x, (row_plan[0], column_plan[0]), (row_plan[1], column_plan[1]), form)
        assert torch.equal(made, F.interpolate(x, size))


@quick
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), seeds)
def test_to_space_goes_what_torchs_own_shuffle_brings_there(c: int, h: int, w: int, factor: int, seed: int) -> None:
    """In its own order of channels; the gradient of a copy is the sum of all it was copied to."""
    x = normal(seed, 2, c, h, w).requires_grad_()
    made = repeat(x, factor)
    assert torch.equal(made, F.pixel_shuffle(x.repeat_interleave(factor**2, 1), factor))
    weights = normal(seed + 1, *made.shape)
    (made * weights).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, F.avg_pool2d(weights, factor) * factor**2)


def test_depth_to_space_is_onnxs(tmp_path: Path) -> None:
    """Of different channels, not of copies, in ONNX Runtime."""

    class ToSpace(Lowered):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = depth_to_space(x, 2)
            return made

    path, x = tmp_path / "to_space.onnx", torch.arange(2 * 12 * 3 * 4, dtype=torch.float32).reshape(2, 12, 3, 4)
    write_onnx(trace(nn.Sequential(ToSpace()), {"input": x}), {"input": tuple(x.shape)}, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [made] = session.run(None, {"input": x.numpy()})
    assert made.shape == (2, 3, 6, 8)
    assert np.array_equal(made, ToSpace()(x).numpy())
    [node] = onnx.load(path).graph.node
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    assert (node.op_type, attributes) == ("DepthToSpace", {"blocksize": 2, "mode": b"DCR"})


def test_depth_to_space_copies_pickles_and_has_torchs_gradient() -> None:
    """Torch's own check of an operator: its shapes, that it returns no view, and its gradient in float64."""
    for channels in (4, 12):
        x = normal(0, 2, channels, 1, 1).double().requires_grad_()
        torch.library.opcheck(depth_to_space, (x, 2))
        assert torch.autograd.gradcheck(lambda x: depth_to_space(x, 2), x)
    layer = NearestUpsample("nearest", (2, 2), "depth-to-space")
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301, our own bytes
        assert torch.equal(other(x.detach()), layer(x.detach()))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_repeats_agree_with_torch_at_every_size(mode: str) -> None:
    for length in range(1, 40):
        positions = torch.arange(length, dtype=torch.float64).reshape(1, 1, 1, -1)
        for size in range(1, 90):
            counts = F.interpolate(positions, (1, size), mode=mode).flatten().long().bincount(minlength=length)
            factor, rest = divmod(size, length)
            regular = torch.full((length,), factor)
            regular[0] += rest
            is_regular = factor > 0 and rest < 2 and torch.equal(counts, regular)
            assert repeats(length, size, mode) == ((factor, rest) if is_regular else None)


REFUSED: dict[str, tuple[Forward, str]] = {
    "9 from 6": (lambda m, x: F.interpolate(m.conv(x), (12, 9)), "9 from 6 in the mode nearest repeats some values"),
    "a third more": (lambda m, x: F.interpolate(m.conv(x), (8, 6)), "8 from 6 in the mode nearest repeats some values"),
    "one and a half": (lambda m, x: F.interpolate(m.conv(x), scale_factor=1.5), "scale factor 1.5 is not whole"),
    "just over two": (lambda m, x: F.interpolate(m.conv(x), scale_factor=2.1), "scale factor 2.1 is not whole"),
    "smaller": (lambda m, x: F.interpolate(m.conv(x), (6, 3)), "3 from 6 in the mode nearest repeats some values"),
    "half-pixel": (
        lambda m, x: F.interpolate(m.conv(x), (13, 13), mode="nearest-exact"),
        "13 from 6 in the mode nearest-exact repeats some values",
    ),
    "one axis": (lambda m, x: F.interpolate(m.conv(x).flatten(2), scale_factor=2), "has 3 axes, not (N, C, H, W)"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_other_sizes_are_refused(form: str) -> None:
    forward, reason = REFUSED[form]
    x = normal(3, 1, 3, 6, 6)
    [told] = reasons(UP, Model(layers(), forward), x)
    assert reason in str(told)


def test_repeating_where_values_are_not_repeated_alike_would_be_wrong() -> None:
    x = normal(3, 1, 3, 6, 6)
    for size, factors, leads in (((12, 9), (2, 1), (0, 1)), ((12, 9), (2, 2), (0, 0))):
        made = enlarge(x, factors, leads)[:, :, :, : size[1]]
        wanted = F.interpolate(x, size)
        assert made.shape != wanted.shape or not torch.equal(made, wanted)
    half_pixel = F.interpolate(x, (13, 13), mode="nearest-exact")
    assert not torch.equal(enlarge(x, (2, 2), (1, 1)), half_pixel)
    not_whole = F.interpolate(x, scale_factor=2.1)
    assert not_whole.shape == (1, 3, 12, 12)
    assert torch.equal(enlarge(x, (2, 2), (0, 0)), not_whole), "right at this size, and at 20 no more"
    x = normal(3, 1, 3, 20, 6)
    assert F.interpolate(x, scale_factor=2.1).shape[2] == 42


def test_bilinear_upsampling_is_not_its_business() -> None:
    model = Model(layers(), lambda m, x: m.bilinear(x) + F.interpolate(x, scale_factor=2, mode="bicubic"))
    assert reasons(UP, model, normal(3, 1, 3, 6, 6)) == []


@pytest.mark.parametrize("up", [UP, TO_SPACE], ids=["broadcast", "depth to space"])
def test_a_batch_and_gradients_pass_through(up: UpsampleBroadcast) -> None:
    """The rewritten model can be trained further."""
    graph: GraphModule = rewritten(up, Model(layers(), gated), normal(1, 1, 3, 7, 8)).train()
    x = normal(2, 4, 3, 7, 8)
    graph(x).sum().backward()
    expected = Model(layers(), gated)
    expected(x).sum().backward()
    assert graph.get_parameter("conv.weight").grad is not None
    assert torch.allclose(graph.get_parameter("conv.weight").grad, expected.conv.weight.grad)


class Enlarged(nn.Module):
    """Two maps by seven and by five, which are copies of copies, and an odd map's gate of half its size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 1)
        self.gate = nn.Conv2d(8, 8, 2, 2)
        self.large, self.wide, self.gated = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        gated = self.gated(x * F.interpolate(self.gate(x), x.shape[2:]))
        large, wide = self.large(F.interpolate(x, (35, 49))), self.wide(F.interpolate(x, (7, 29)))
        return torch.cat([y.mean((2, 3)) for y in (gated, large, wide)], 1)


@pytest.mark.slow
def test_converted_they_are_copies_of_four_axes_in_one_partition(tmp_path: Path) -> None:
    """A mean of 1,715 values rounds by some 1e-6 in float32; a value at a wrong place would be in the first digit."""
    model, x = Enlarged().eval(), torch.zeros(1, 3, 7, 7)
    assert len(UP.find(traced(model, x))) == 3
    converted = Converted(rewritten(UP, model, x), (3, 7, 7), tmp_path)
    int8 = converted.int8()
    for file, bound in ((converted.float32, 1e-5), (int8, 0.03)):
        assert converted.error(file) < bound
        assert most_axes_in(file) == 4
        found = inspect(file)
        assert found.delegate and (found.delegate.partitions, found.delegate.undelegated) == (1, ())
        assert not {"TRANSPOSE", "RESIZE_NEAREST_NEIGHBOR", "GATHER"} & set(found.ops)
