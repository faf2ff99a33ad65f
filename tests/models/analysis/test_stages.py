"""The stage table: its rows add up to the model, and each kind of operation to what is known of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from mobilekit.cli.app import application
from mobilekit.models.analysis.macs import count_macs, count_params
from mobilekit.models.analysis.stages import KINDS, StageRow, stage_table
from mobilekit.models.registry import find_model, model_names


def table_of(name: str, **options: Any) -> tuple[nn.Module, tuple[int, ...], list[StageRow]]:
    entry = find_model(name)
    with torch.device("meta"):
        model = entry.create(**options)
    shape = (1, entry.in_channels, entry.input_size, entry.input_size)
    return model, shape, stage_table(model, shape)


def split_of(rows: list[StageRow]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds.update(row.kinds)
    return dict(kinds)


@pytest.mark.parametrize("name", model_names())
def test_rows_sum_to_the_model(name: str) -> None:
    model, shape, rows = table_of(name)
    assert sum(row.params for row in rows) == count_params(model)
    assert sum(row.macs for row in rows) == count_macs(model, shape)
    for row in rows:
        assert row.macs == sum(row.kinds.values())
        assert set(row.kinds) <= set(KINDS)
        assert len(row.shape) in (1, 3)
        assert row.params == count_params(model.get_submodule(row.name))  # and so none is "(model)"


def test_a_small_model_counted_by_hand() -> None:
    model = nn.Sequential()
    model.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
    model.stages = nn.Sequential(
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.Conv2d(8, 16, 1, bias=False)),
        nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1, groups=4), nn.Conv2d(16, 4, 3, groups=2)),
    )
    model.flat = nn.Flatten()
    model.classifier = nn.Linear(4 * 6 * 6, 10)
    assert stage_table(model, (1, 1, 16, 16)) == [
        # One input channel and one group is a plain convolution.
        StageRow("stem", (8, 8, 8), 8 * 9 + 8, 64 * 8 * 9, {"conv": 64 * 8 * 9}),
        StageRow(
            "stages.0", (16, 8, 8), 72 + 128, 64 * (72 + 128), {"depthwise": 64 * 8 * 9, "pointwise": 64 * 8 * 16}
        ),
        StageRow(
            "stages.1",
            (4, 6, 6),
            32 + (16 * 4 + 16) + (4 * 8 * 9 + 4),
            64 * 16 * 4 + 36 * 4 * 8 * 9,
            {"pointwise": 64 * 16 * 4, "conv": 36 * 4 * 8 * 9},
        ),
        StageRow("classifier", (10,), 1450, 1440, {"linear": 1440}),
    ]


class Loose(nn.Module):
    """Holds a parameter, and computes with it, outside any stage; runs one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.ones(6, 5))
        self.layer = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x)) @ self.mix


def test_what_is_outside_any_stage_has_a_row() -> None:
    """(1, 2, 4, 6): 8 positions of 6 features."""
    assert stage_table(Loose(), (1, 2, 4, 6)) == [
        StageRow("layer", (2, 4, 6), 42, 2 * 8 * 36, {"linear": 2 * 8 * 36}),
        StageRow("(model)", (2, 4, 5), 30, 8 * 30, {"matmul": 8 * 30}),
    ]


def test_ghostnetv2_splits_as_is_known() -> None:
    """Pointwise: 114.1M of the ghost modules, shortcuts and last stage, 22.5M of DFC, and those of SE and head."""
    model, _, rows = table_of("ghostnetv2")
    split = split_of(rows)
    classifier, head = 1280 * 1000, 960 * 1280
    squeezes = sum(m.weight.numel() for n, m in model.named_modules() if n.endswith(("conv_reduce", "conv_expand")))
    assert split["linear"] == classifier
    assert (classifier + head + squeezes) / 1e6 == pytest.approx(4.0, abs=0.05)
    assert split["conv"] == 3 * 16 * 9 * 112 * 112
    assert split["depthwise"] / 1e6 == pytest.approx(17.7, abs=0.05)
    assert split["dfc"] / 1e6 == pytest.approx(3.4, abs=0.05)
    assert (split["pointwise"] - head - squeezes) / 1e6 == pytest.approx(114.1 + 22.5, abs=0.1)
    assert [row.name for row in rows] == [
        *("conv_stem", "bn1"),
        *(f"blocks.{index}" for index in range(10)),
        *("conv_head", "classifier"),
    ]
    assert [row.shape for row in rows if row.name in ("conv_stem", "blocks.6", "conv_head", "classifier")] == [
        (16, 112, 112),
        (112, 14, 14),
        (1280, 1, 1),
        (1000,),
    ]


def test_dense_dfc_and_attention_have_their_kinds() -> None:
    assert split_of(table_of("ghostnetv2", weights="dense")[2])["dfc"] / 1e6 == pytest.approx(10.1, abs=0.05)
    assert all("dfc" not in row.kinds and "matmul" not in row.kinds for row in table_of("ghostnet")[2])
    attending = {row.name for row in table_of("efficientvit_b1")[2] if "matmul" in row.kinds}
    assert attending == {"stages.2", "stages.3"}


def test_the_command_shows_the_stages_of_one_model() -> None:
    said = CliRunner().invoke(application(), ["models", "ghostnetv2_digits", "--json"])
    (entry,) = json.loads(said.stdout)
    stages = {stage["name"]: stage for stage in entry["stages"]}
    assert sum(stage["macs"] for stage in stages.values()) == entry["macs"]
    assert stages["conv_stem"] == {
        "name": "conv_stem",
        "shape": [4, 32, 32],
        "params": 36,
        "macs": 36 * 1024,
        "kinds": {"conv": 36 * 1024},
    }
    lines = CliRunner().invoke(application(), ["models", "ghostnetv2_digits"]).stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.split()[:1] == ["stage"])
    cells = [line.split() for line in lines[start:]]
    assert cells[0] == ["stage", "output", "params", "MACs", "pointwise", "depthwise", "conv", "linear", "dfc"]
    assert cells[1] == ["conv_stem", "4x32x32", "36", "0.04M", "-", "-", "0.04M", "-", "-"]
    assert [row[0] for row in cells[1:]] == list(stages)
