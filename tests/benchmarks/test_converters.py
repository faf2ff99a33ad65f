"""The ways of converting that are compared: each step is given all that the converters ask for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from benchmarks.converters.__main__ import Way, convert
from benchmarks.converters.report import FORMATS
from mobilekit.convert.installed import writes_directly
from mobilekit.recipes.schema import Int8
from mobilekit.store.files import write_json
from tests.converting import Converted, normal


@pytest.mark.parametrize("kind", ["keras", *(["direct-tensorflow"] if writes_directly() else [])])
def test_a_way_makes_all_four_files(kind: str, tmp_path: Path) -> None:
    net = Converted(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1)), (3, 8, 8), tmp_path)
    prepared, folder = tmp_path / "prepared", tmp_path / "files"
    prepared.mkdir()
    (prepared / "model.onnx").write_bytes((tmp_path / "net.onnx").read_bytes())
    np.savez(prepared / "calibration.npz", input=normal(12, 3, 8, 8))
    write_json(prepared / "prepared.json", {"int8": Int8().model_dump(mode="json"), "trained": False})
    costs, failed = convert(Way("way", kind, sys.executable), prepared, folder, sys.executable)
    assert not failed and [cost.problem for cost in costs] == [None]
    for precision, limit in zip(FORMATS, (1e-6, 2e-3, 2e-2, 4e-2), strict=True):
        assert net.error(folder / f"model.{precision}.tflite") < limit, precision
