"""A model that normalizes its pictures itself gives what it gave for normalized ones, and keeps its paths and state."""

from __future__ import annotations

import copy
from fractions import Fraction

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.frame import Axis, Frame
from mobilekit.models.inputs import call
from mobilekit.models.normalization import NORMALIZATION, Pixels, normalize_inside, normalized
from mobilekit.rewrites.fx.graph import trace
from tests.nets_of_several_inputs import Stereo
from tests.tiny import Tiny

MEAN, STD = (0.5, 0.25, 0.125), (0.25, 0.5, 0.125)
SCALE, SHIFT = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (STD, MEAN))
PICTURE, PICTURES = Pixels(("input",), MEAN, STD), ("input", "another")


def pixels(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(seed)).float()


def test_it_gives_what_the_model_gives_for_the_normalized_picture() -> None:
    torch.manual_seed(0)
    net = Tiny().eval()
    state, bytes_ = dict(net.state_dict()), pixels(0)
    with torch.no_grad():
        expected = net((bytes_ / 255 - SHIFT) / SCALE)
        inside = normalize_inside(net, PICTURE)
        torch.testing.assert_close(inside(bytes_), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(copy.deepcopy(inside)(bytes_), expected, atol=1e-6, rtol=1e-5)
        graph = trace(inside, {"input": torch.zeros(1, 3, 16, 16)})
        torch.testing.assert_close(graph(bytes_), expected, atol=1e-6, rtol=1e-5)
    assert inside.state_dict().keys() == state.keys(), "a checkpoint of the model fits it as before"
    assert isinstance(graph.get_submodule(NORMALIZATION), nn.Conv2d), "one depthwise convolution, by its path"
    assert {"stem.0", "depthwise", "head"} <= {name for name, _ in graph.named_modules()}


def test_a_model_that_runs_all_its_modules_gets_none() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 2)).eval()
    expected = net((pixels(0) / 255 - SHIFT) / SCALE)
    inside = normalize_inside(net, PICTURE)
    torch.testing.assert_close(inside(pixels(0)), expected, atol=1e-5, rtol=1e-5)
    assert [name for name, _ in inside.named_children()] == ["0", "1", "2"]


def test_all_pictures_are_normalized_and_nothing_else() -> None:
    one, another = pixels(0), pixels(1)
    net = Stereo().eval()
    first, both = (
        normalize_inside(copy.deepcopy(net), PICTURE._replace(names=names)) for names in (("input",), PICTURES)
    )
    expected = net((one / 255 - SHIFT) / SCALE, another)
    torch.testing.assert_close(call(first, {"another": another, "input": one}), expected, atol=1e-4, rtol=1e-5)
    seen = normalized({"input": one, "another": another}, PICTURE._replace(names=PICTURES))
    torch.testing.assert_close(seen["another"], (another / 255 - SHIFT) / SCALE)
    torch.testing.assert_close(call(both, {"input": one, "another": another}), call(net, seen))


def test_a_model_of_normalized_pictures_stays_as_it_is() -> None:
    net = Tiny()
    assert normalize_inside(net, Pixels()) is net
    assert not net._forward_pre_hooks


def test_a_module_of_that_name_is_not_replaced() -> None:
    net = Tiny()
    net.input_normalization = nn.Identity()
    with pytest.raises(UsageError, match="The model has input_normalization"):
        normalize_inside(net, PICTURE)


def test_frames_are_scaled_before_they_are_normalized() -> None:
    """A picture of pixels that are each four times as large becomes that picture, as means of equal values."""
    torch.manual_seed(0)
    net, small = Tiny().eval(), pixels(0)
    axis = Axis(32, 16, Fraction(0), Fraction(2))
    frame = PICTURE._replace(frame=Frame(axis, axis, "bilinear"))
    frames = torch.full((2, 3, 32, 32), 128.0)
    seen = normalized({"input": frames}, frame)["input"]
    assert seen.shape == (2, 3, 16, 16)
    torch.testing.assert_close(seen, ((128 / 255 - SHIFT) / SCALE).expand_as(seen), atol=1e-6, rtol=1e-5)
    frames = frame.of((small.double() / 255 - SHIFT) / SCALE).float()
    seen = normalized({"input": frames}, frame)["input"]
    with torch.no_grad():
        expected = net(seen)
        inside = normalize_inside(net, frame)
        torch.testing.assert_close(inside(frames), expected, atol=1e-6, rtol=1e-5)
        graph = trace(inside, {"input": torch.zeros(1, 3, 32, 32)})
        torch.testing.assert_close(graph(frames), expected, atol=1e-6, rtol=1e-5)
    paths = {name for name, _ in graph.named_modules()}
    assert {"frame_columns", "frame_rows", NORMALIZATION, "stem.0"} <= paths
