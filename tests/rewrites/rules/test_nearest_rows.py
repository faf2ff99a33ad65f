"""Nearest resizing takes the rows that PyTorch takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.rewrites.base import Options
from mobilekit.rewrites.rules.nearest_rows import NearestRows, Rows
from tests.axes import most_axes_of
from tests.converting import Converted
from tests.converting import normal as floats
from tests.rewriting import Layers, Model, assert_exact, calls, normal, quick, reasons, rewritten, seeds

ROWS = NearestRows(Options())
REPEATS, ALIKE = "it repeats values, by the sizes", "every runtime takes these rows"
ROUNDING = "float32 and float64 take other rows; give `size`, or recompute_scale_factor=True"
modes = st.sampled_from(["nearest", "nearest-exact"])


def layers() -> Layers:
    return {"conv": nn.Conv2d(3, 4, 1)}


def resizing(**how: Any) -> Model:
    return Model(layers(), lambda m, x: F.interpolate(m.conv(x), **how))


@quick
@given(st.floats(0.15, 2.5), st.floats(0.15, 2.5), st.booleans(), modes, st.integers(7, 20), st.integers(7, 20), seeds)
def test_the_rows_are_pytorchs(
    down: float, across: float, is_size: bool, mode: str, height: int, width: int, seed: int
) -> None:
    size = (int(height * down), int(width * across))
    model = resizing(mode=mode, **({"size": size} if is_size else {"scale_factor": (down, across)}))
    x = normal(seed, 2, 3, height, width)
    (reason,) = reasons(ROWS, model, x)
    if reason is None:
        with torch.no_grad():
            assert torch.equal(model(x), rewritten(ROWS, model, x)(x))
    else:
        assert reason in (REPEATS, ALIKE) or ("other rows" in reason and reason == ROUNDING)
        assert is_size or reason == ROUNDING or size == (height * down, width * across)


@pytest.mark.parametrize(
    ("size", "how", "reason"),
    [
        ((14, 14), {"size": (2, 2)}, None),
        ((14, 13), {"size": (2, 5)}, None),
        ((13, 13), {"size": (5, 5)}, ALIKE),
        ((7, 7), {"scale_factor": 2}, REPEATS),
        ((7, 7), {"size": (14, 10)}, REPEATS),
        ((7, 7), {"scale_factor": 1.5}, None),
        ((7, 7), {"scale_factor": 1.5, "recompute_scale_factor": True}, REPEATS),
        ((8, 8), {"scale_factor": 0.5}, None),
        ((7, 9), {"scale_factor": (0.3, 2)}, None),
        ((7, 7), {"size": (3, 3), "mode": "nearest-exact"}, None),
    ],
)
def test_what_is_told_by_sizes_in_every_runtime_is_left(
    size: tuple[int, int], how: dict[str, Any], reason: str | None
) -> None:
    model, x = resizing(**how), normal(1, 1, 3, *size)
    assert reasons(ROWS, model, x) == [reason]
    if reason is None:
        graph = assert_exact(ROWS, model, x)
        assert len(calls(graph, Rows)) == 1
        assert most_axes_of(graph, x) == 4


def test_rows_along_one_axis_are_taken_too() -> None:
    model = Model(layers(), lambda m, x: F.interpolate(m.conv(x).flatten(2), scale_factor=0.3))
    assert_exact(ROWS, model, normal(1, 2, 3, 5, 4))


def test_rows_that_rounding_decides_are_refused() -> None:
    """A length of 56 by 2.3 is 128.8: position 23 / 2.3 and its like round up in one precision and not in the other."""
    refused = 0
    for length in range(50, 60):
        x32 = torch.arange(length, dtype=torch.float32).view(1, 1, length, 1)
        how: dict[str, Any] = {"scale_factor": (2.3, 1.0)}
        is_same = torch.equal(F.interpolate(x32, **how).double(), F.interpolate(x32.double(), **how))
        (reason,) = reasons(ROWS, resizing(**how), normal(1, 1, 3, length, 2))
        assert reason == (None if is_same else ROUNDING)
        refused += not is_same
    assert refused


@pytest.mark.slow
def test_all_runtimes_take_the_same_rows_in_one_partition(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample((2, 4)), nn.Conv2d(4, 5, 1), nn.Flatten()).eval()
    assert reasons(ROWS, model, torch.zeros(1, 3, 14, 28)) == [None]
    converted = Converted(rewritten(ROWS, model, torch.zeros(1, 3, 14, 28)), (3, 14, 28), tmp_path)
    x = floats(2, 3, 14, 28, seed=1)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    for runtime in (LiteRTRuntime(converted.float32), OnnxRuntime(tmp_path / "net.onnx")):
        (given,) = runtime.run({"input": x}).values()
        assert abs(given - expected).max() <= 1e-6 * abs(expected).max()
    names = [op["op_name"] for op in LiteRTRuntime(converted.float32).interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1
