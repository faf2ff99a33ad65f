"""What targets are asked about: files that are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.tflite_by_hand import make_tflite


@pytest.mark.parametrize("size", [0, 20, 200])
def test_a_cut_file_is_told_before_a_target_reads_it(size: int, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"])[:size])
    done = cli("inspect", path, "--target", "runtime:2.14")
    assert done.returncode == 4
    assert done.stderr.startswith(f"error: LiteRT cannot open {path}: it is not a whole TFLite file.")
