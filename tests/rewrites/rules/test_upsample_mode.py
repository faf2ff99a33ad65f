"""Upsampling by another mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.proof import relative_error
from mobilekit.rewrites.rules.upsample_mode import UpsampleMode, UpsampleModeOptions
from tests.rewriting import (
    Forward,
    Layers,
    Model,
    assert_refused_for_a_reason,
    normal,
    reasons,
    rewritten,
)

X = normal(1, 2, 3, 8, 7)
TO_NEAREST = UpsampleMode(UpsampleModeOptions())
TO_BILINEAR = UpsampleMode(UpsampleModeOptions(to="bilinear"))
UPSAMPLES: dict[str, tuple[Forward, Forward]] = {
    "scale": (
        lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda m, x: F.interpolate(x, scale_factor=2),
    ),
    "size": (
        lambda m, x: F.interpolate(F.avg_pool2d(x, 2), x.shape[2:], mode="bilinear", align_corners=False),
        lambda m, x: F.interpolate(F.avg_pool2d(x, 2), x.shape[2:], mode="nearest"),
    ),
    "module": (lambda m, x: m.bilinear(x), lambda m, x: m.nearest(x)),
}
CHOICES: Layers = {"bilinear": nn.UpsamplingBilinear2d(scale_factor=2), "nearest": nn.Upsample(scale_factor=2)}


@pytest.mark.parametrize("form", UPSAMPLES)
def test_upsampling_modes_change_places(form: str) -> None:
    bilinear, nearest = (Model(dict(CHOICES), forward) for forward in UPSAMPLES[form])
    assert UpsampleMode.exactness is Exactness.APPROXIMATE
    with torch.no_grad():
        assert torch.equal(rewritten(TO_NEAREST, bilinear, X)(X), nearest(X))
        made = rewritten(TO_BILINEAR, nearest, X)(X)
        if form != "module":  # whose corners are aligned
            assert torch.equal(made, bilinear(X))
        assert relative_error(bilinear(X), nearest(X)) > 0.01
    assert reasons(TO_NEAREST, nearest, X) == reasons(TO_BILINEAR, bilinear, X) == []


def test_upsampling_along_one_axis_is_refused() -> None:
    model = Model({}, lambda m, x: F.interpolate(x.flatten(2), scale_factor=2))
    assert_refused_for_a_reason(TO_BILINEAR, model, X, "is not (N, C, H, W)")
