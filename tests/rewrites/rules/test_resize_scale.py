"""Resizing by a factor that sizes do not tell has PyTorch's coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.resize_scale import LongerBilinear, ResizeByMatrices, ResizeScale
from tests.converting import Converted
from tests.rewriting import Layers, Model, assert_exact, calls, normal, quick, reasons, rewritten, seeds

SCALE = ResizeScale(Options())


def layers() -> Layers:
    return {"conv": nn.Conv2d(3, 4, 1)}


def resizing(**how: Any) -> Model:
    return Model(layers(), lambda m, x: F.interpolate(m.conv(x), **how))


@quick
@given(
    st.one_of(st.floats(0.3, 2.5), st.sampled_from([0.7, 1.3, 1.5, 2 / 3])),
    st.one_of(st.floats(0.3, 2.5), st.sampled_from([0.5, 1.0, 1.1, 1.5])),
    st.sampled_from(["bilinear", "bicubic"]),
    st.booleans(), st.integers(5, 20), st.integers(5, 20), seeds,
)  # fmt: skip
def test_coordinates_are_pytorchs(
    down: float, across: float, mode: str, align: bool, height: int, width: int, seed: int
) -> None:
    model = resizing(scale_factor=(down, across), mode=mode, align_corners=align)
    x = normal(seed, 2, 3, height, width)
    is_told = all(
        int(size * factor) == pytest.approx(size * factor, rel=1e-9)
        for size, factor in ((height, down), (width, across))
    )
    if mode == "bilinear" and (align or is_told):
        assert reasons(SCALE, model, x) == []
    else:
        assert_exact(SCALE, model, x)


@pytest.mark.parametrize(
    ("size", "how", "kind"),
    [
        ((25, 25), {"scale_factor": 1.5, "mode": "bilinear"}, LongerBilinear),
        ((25, 24), {"scale_factor": (1.5, 1.3), "mode": "bilinear"}, LongerBilinear),
        ((23, 24), {"scale_factor": 0.7, "mode": "bilinear"}, LongerBilinear),
        ((23, 24), {"scale_factor": 0.7071, "mode": "bilinear"}, ResizeByMatrices),
        ((25, 25), {"scale_factor": 1.5, "mode": "bicubic"}, ResizeByMatrices),
        ((8, 9), {"size": (5, 13), "mode": "bicubic", "align_corners": True}, ResizeByMatrices),
    ],
)
def test_each_form_is_exact(size: tuple[int, int], how: dict[str, Any], kind: type[nn.Module]) -> None:
    graph = assert_exact(SCALE, resizing(**how), normal(1, 2, 3, *size))
    assert len(calls(graph, kind)) == 1


def test_one_axis_is_resized_too() -> None:
    model = Model(layers(), lambda m, x: F.interpolate(m.conv(x).flatten(2), scale_factor=1.3, mode="linear"))
    assert_exact(SCALE, model, normal(1, 2, 3, 5, 5))


@pytest.mark.parametrize(
    "how",
    [
        {"scale_factor": 1.5, "recompute_scale_factor": True, "mode": "bilinear"},
        {"size": (9, 9), "mode": "bilinear"},
        {"scale_factor": 2, "mode": "bilinear"},
        {"scale_factor": 1.3, "mode": "nearest"},
    ],
)
def test_what_sizes_tell_is_no_site(how: dict[str, Any]) -> None:
    assert reasons(SCALE, resizing(**how), normal(1, 1, 3, 7, 7)) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_files_have_the_coordinates(mode: str, tmp_path: Path) -> None:
    """float32's rounding of coordinates is some 1e-6 of a step; 8 bits lose .03 of the net without the resizing too."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=1.5, mode=mode), nn.Conv2d(4, 5, 1), nn.Flatten()
    )
    graph = rewritten(SCALE, model, torch.zeros(1, 3, 17, 15)).float()
    converted = Converted(graph, (3, 17, 15), tmp_path)
    converted.model = model.eval()
    assert converted.error(converted.float32) < 5e-6
    assert converted.error(converted.int8()) < 0.05
