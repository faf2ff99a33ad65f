"""Every family's int8 file is close to PyTorch on photos, and runs whole on XNNPACK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

COSINE = 0.99  # of the worst photo, with seeded weights


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ghostnet", "shufflenet", "efficientvit", "efficientvit_b1"])
def test_int8_is_close_and_whole(model: str, tmp_path: Path, cli: Cli) -> None:
    done = cli("export", model, "--precision", "float32,int8", "-o", tmp_path / model)
    assert done.returncode == 0, done.stdout + done.stderr
    check(tmp_path / model)


@pytest.mark.slow
def test_int8_of_ghostnetv2_is_close_and_whole(ghostnetv2_bundle: Path) -> None:
    check(ghostnetv2_bundle)


def check(bundle: Path) -> None:
    """Hold a bundle's int8 file to the cosine and to one partition."""
    ledger: dict[str, Any] = json.loads((bundle / "ledger.json").read_text())
    [row] = [row for row in ledger["stages"] if (row["stage"], row["against"]) == ("tflite-int8", "reference")]
    assert row["cosine"] >= COSINE
    assert ledger["artifacts"]["model.int8.tflite"]["partitions"] == 1
