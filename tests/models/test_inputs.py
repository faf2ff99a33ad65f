"""A module takes its inputs by name, in whatever order they are given; those that it has not are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.errors import UsageError
from mobilekit.models.build import probe_model
from mobilekit.models.inputs import Tensors, call, zeros
from mobilekit.models.registry import ModelEntry
from mobilekit.models.shapes import Shapes
from mobilekit.rewrites.fx.graph import trace
from tests.nets_of_several_inputs import MASKED, Masked, Stereo, recipe


def entry(build: Callable[..., nn.Module]) -> ModelEntry:
    return ModelEntry(name="net.py:make", build=build, paper="", input_size=32, in_channels=0, num_classes=0)


def test_inputs_are_called_by_name_whatever_their_order() -> None:
    model = Stereo().eval()
    one, another = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    expected = model(one, another)
    assert torch.equal(call(model, {"input": one, "another": another}), expected)
    assert torch.equal(call(model, {"another": another, "input": one}), expected)
    runtime = TorchRuntime(model)
    arrays = {"another": another.numpy(), "input": one.numpy()}
    np.testing.assert_array_equal(runtime.run(arrays)["output"], expected.detach().numpy())


class Optional(nn.Module):
    """Inputs that may be left out, one of them by keyword alone."""

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, *, gain: torch.Tensor | None = None
    ) -> torch.Tensor:
        if mask is not None:
            x = x * mask
        return x if gain is None else x * gain[:, :, None, None]


class BySize(nn.Module):
    """Computes with the sizes of its second input in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        height = mask.shape[2]
        x = self.conv(image) * mask if height % 2 == 0 else self.conv(image)
        return x.reshape(x.shape[0], 4, max(1, height // 4), -1).sum(2) * float(height)


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (Stereo(), {"input": (1, 3, 8, 8), "another": (1, 3, 8, 8)}),
        (Masked(), recipe(MASKED).shapes),
        (Masked(), dict(reversed(recipe(MASKED).shapes.items())) | {}),
        (Optional(), {"input": (1, 3, 8, 8)}),
        (Optional(), {"input": (1, 3, 8, 8), "gain": (1, 3)}),
        (Optional(), {"input": (1, 3, 8, 8), "gain": (1, 3), "mask": (1, 1, 8, 8)}),
        (BySize(), {"input": (1, 3, 8, 8), "mask": (1, 1, 8, 8)}),
        (BySize(), {"input": (1, 3, 9, 8), "mask": (1, 1, 9, 8)}),
    ],
)
def test_a_graph_takes_the_inputs_it_is_given_and_no_others(model: nn.Module, shapes: Shapes) -> None:
    shapes = {"input": shapes["input"], **shapes}
    generator = torch.Generator().manual_seed(0)
    inputs: Tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    graph = trace(model, zeros(shapes))
    expected = call(model.eval(), inputs)
    for given in (inputs, dict(reversed(inputs.items()))):
        torch.testing.assert_close(call(graph, given), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "extras", "says"),
    [
        (Stereo, {}, r"also takes another, which(.|\n)*extra_inputs:\n  another: \{shape: \[1, 1, 32, 32\]\}"),
        (Masked, {"mask": (1, 1, 32, 32)}, "also takes features and prior"),
        (Stereo, {"anothr": (1, 3, 32, 32)}, "no further input anothr.(.|\n)*Did you mean another?"),
        (Stereo, {"one": (1, 3, 32, 32), "another": (1, 3, 32, 32)}, "one is the first input of net.py:make"),
        (
            Stereo,
            {"another": (1, 3, 20, 20)},
            "cannot take an input of 3x32x32, another of 3x20x20: The size of tensor",
        ),
        (nn.Identity, {"mask": (1, 4)}, "no further input mask.(.|\n)*Known: none"),
    ],
)
def test_inputs_that_the_model_does_not_have(model: type[nn.Module], extras: Shapes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        probe_model(entry(model), {}, {"input": (1, 3, 32, 32), **extras})


class TakesDict(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["image"]


class TakesPair(nn.Module):
    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        left, right = pair
        return left - right


class TakesAnything(nn.Module):
    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return inputs["input"]


class GivesMask(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"mask": image * mask}


@pytest.mark.parametrize(
    ("model", "extras", "says"),
    [
        (TakesDict, {}, "IndexError(.|\n)*Each input is one tensor(.|\n)*dicts or tuples"),
        (TakesPair, {}, "not enough values to unpack(.|\n)*dicts or tuples"),
        (TakesAnything, {}, "takes no image"),
        (GivesMask, {"mask": (1, 1, 32, 32)}, "an output and an input that are both named mask"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_inputs_that_cannot_be_exported(model: type[nn.Module], extras: Shapes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        probe_model(entry(model), {}, {"input": (1, 3, 32, 32), **extras})


def test_the_next_size_is_one_of_all_inputs() -> None:
    class Big(nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return F.conv2d(image * mask, torch.ones(1, 3, 35, 35))

    with pytest.raises(UsageError, match="next larger size that it takes is 35"):
        probe_model(entry(Big), {}, {"input": (1, 3, 32, 32), "mask": (1, 1, 32, 32)})
