"""Models on several images at once, beside one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mobilekit.models.batches import run_in_batches, takes_batches
from mobilekit.models.outputs import named_outputs
from mobilekit.models.weights import calibrate_batch_norms
from mobilekit.rewrites.fx.graph import trace


class Function(nn.Module):
    """A function of the image."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


FUNCTIONS: dict[str, tuple[Callable[[torch.Tensor], Any], bool]] = {
    "pooled": (lambda x: x.mean((2, 3)), True),
    "joined": (lambda x: x.reshape(1, 3, -1), False),
    "one alone": (lambda x: x.view(1, 3, 16).mean(2), False),
    "scalar": (lambda x: {"score": x.mean(), "map": x}, False),
    "constant": (lambda x: (x, torch.arange(4.0).view(1, 4)), False),
    "squeezed": (lambda x: x.mean((2, 3)).squeeze(), False),
    "first image": (lambda x: x[0], False),
    "labels": (lambda x: x.argmax(1), True),
    "divided by the largest of all": (lambda x: x / x.max(), False),
    "divided by the largest of its own": (lambda x: x / x.amax((1, 2, 3), keepdim=True), True),
    "weights of the first image": (lambda x: torch.nn.functional.conv2d(x, x[:1]), False),
    "what is beside the last": (lambda x: x - x[-1:], False),
    "labels of all": (lambda x: (x > x.mean()).long(), False),
    "a norm of all": (lambda x: torch.nn.functional.batch_norm(x, None, None, training=True), False),
}


@pytest.mark.parametrize(("function", "is_free"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_each_image_has_its_row(function: Callable[[torch.Tensor], Any], is_free: bool) -> None:
    """The oracle is one image at a time."""
    images = {"input": torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))}
    alone = [named_outputs(function(image[None])) for image in images["input"]]
    for model in (Function(function), trace(Function(function), {"input": images["input"][:1]})):
        assert takes_batches(model, images) is is_free
        rows = run_in_batches(model, images, 4)
        assert rows.keys() == alone[0].keys()
        for name, tensor in rows.items():
            assert len(tensor) == 5
            for row, own in zip(tensor, alone, strict=True):
                assert torch.equal(row.flatten(), own[name].flatten())


def test_batches_are_kept_where_a_model_takes_them() -> None:
    counts: dict[str, list[int]] = {"pooled": [], "one alone": []}
    for name, seen in counts.items():
        model = Function(FUNCTIONS[name][0])
        model.register_forward_pre_hook(lambda _model, taken, seen=seen: seen.append(len(taken[0])))
        for _ in range(2):
            run_in_batches(model, {"input": torch.zeros(6, 3, 4, 4)}, 4)
    assert counts["pooled"] == [1, 2, 1, 3, 4, 2, 4, 2]  # what it takes is tried once
    assert counts["one alone"] == [1, 2, *[1] * 12]


def test_batch_norms_are_calibrated_image_by_image_where_a_model_takes_one() -> None:
    model = Function(lambda x: x.view(1, 3, 4, 4))
    model.norm = nn.BatchNorm2d(3)
    model.function = lambda x: model.norm(x.view(1, 3, 4, 4))
    images = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    calibrate_batch_norms(model.eval(), [{"input": images[:2]}, {"input": images[2:]}])
    assert model.norm.running_mean is not None
    torch.testing.assert_close(model.norm.running_mean, images.mean((0, 2, 3)))
