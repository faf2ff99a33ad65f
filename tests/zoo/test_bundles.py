"""Every family's bundle: the same function in others' hands, int8 close on photos, and all of it in one partition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilekit.store.stages import DEFAULT_PRECISIONS, tflite_stage
from tests.axes import most_axes_in
from tests.other_hands import largest_difference
from tests.zoo import MODELS, SIZE

# Of the worst photo, with seeded weights. Of smaller photos than a recipe is made for, only what it promises holds.
COSINE = 0.95 if SIZE else 0.99


def rows_of(bundle: Path) -> dict[str, dict[str, Any]]:
    """Return what the ledger has of each stage beside the reference."""
    ledger = json.loads((bundle / "ledger.json").read_text())
    return {row["stage"]: row for row in ledger["stages"] if row["against"] == "reference"}


@pytest.mark.parametrize("model", MODELS)
def test_int8_is_close_and_whole(bundle: Path) -> None:
    assert rows_of(bundle)["tflite-int8"]["cosine"] >= COSINE
    ledger = json.loads((bundle / "ledger.json").read_text())
    assert ledger["artifacts"]["model.int8.tflite"]["partitions"] == 1
    assert ledger["verdict"] == "pass"


@pytest.mark.parametrize("file", ["model.onnx", "model.float32.tflite"])
@pytest.mark.parametrize("model", MODELS)
def test_artifacts_equal_the_reference_in_other_hands(model: str, file: str, bundle: Path) -> None:
    """ONNX Runtime and LiteRT, driven by nothing of ours, give what the reference model gives."""
    difference, scale = largest_difference(model, bundle, file)
    assert difference <= 2e-5 * max(1.0, scale)  # two float32 evaluations
    assert scale > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_no_tensor_has_five_axes(bundle: Path) -> None:
    """Compilers for GPUs and NPUs refuse them, and so does ncnn; LiteRT's own kernels stop at six."""
    files = ["model.onnx", *(tflite_stage(precision).file for precision in DEFAULT_PRECISIONS)]
    assert {file: most_axes_in(bundle / file) for file in files} == dict.fromkeys(files, 4)


@pytest.mark.parametrize("model", [model for model in MODELS if model == "ghostnetv2"])
def test_ghostnetv2_at_its_own_size(model: str, bundle: Path) -> None:
    """The formats' distances, the calibration, and what delegates take of each file."""
    rows = rows_of(bundle)
    assert 0 < rows["tflite-float32"]["max_abs"] <= 2e-5  # it was really run: float32 kernels never agree to the bit
    assert rows["tflite-float16"]["cosine"] >= 0.9999
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["model"]["weights"]["source"].startswith("seeded random weights")
    assert manifest["calibration"]["count"] == 84
    tensor = manifest["artifacts"]["model.int8.tflite"]["inputs"][0]
    assert (tensor["shape"], tensor["layout"], tensor["dtype"]) == ([1, 224, 224, 3], "NHWC", "int8")
    # Photos normalized as the recipe says span about -2.1..2.6: 256 steps of about 0.0187.
    assert 0.015 < tensor["scale"] < 0.022
    onnx = json.loads((bundle / "ledger.json").read_text())["artifacts"]["model.onnx"]["ops"]
    assert onnx["Conv"] >= 100  # 28 of the depthwise ones are DFC's
    assert not {"BatchNormalization", "MatMul"} & set(onnx)
