"""The table of benchmarks.executorch, from times that are made up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks import executorch
from tests.programs import TWO_PARTS


def test_shares_are_medians_of_the_rounds_ratios(tmp_path: Path) -> None:
    times: dict[str, list[int]] = {}
    for name, folder, ms in (
        ("ghostnet", "ghostnet", {"plain.pte": [10, 20, 40], "bundle/model.float32.pte": [5, 8, 30]}),
        ("ghostnet", "ghostnet", {"bundle/model.int8.pte": [4, 4, 15], "bundle/model.float32.tflite": [5, 4, 15]}),
        ("timm:ghostnet_100", "timm-ghostnet_100", {"plain.pte": [20, 32, 60]}),
    ):
        (tmp_path / folder / "bundle").mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "name").write_text(name)
        for file, figures in ms.items():
            shutil.copy(TWO_PARTS, tmp_path / folder / file)
            times[f"{folder}/{file}"] = figures
    found = {"on": "today.", "versions": {"executorch": "1.5.1"}, "rounds": 3, "ms": times}
    (tmp_path / "times.json").write_text(json.dumps(found))
    said, _blank, _head, _line, row = executorch.table(tmp_path).splitlines()
    assert said == "Measured today; executorch 1.5.1; medians of 3 rounds in turns, one thread on one core."
    assert row == "| ghostnet | 2 | 2 | 20.0 | 8.0 | 0.50 | 32.0 | 0.25 | 4.0 | 0.50 | 5.0 | 2.00 |  |"
