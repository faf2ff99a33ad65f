"""The table of DFC attention's kernel sizes: its figures, as JSON, text and pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import dfc_table as dfc_tables
from mobilekit.errors import UsageError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["dfc_table", *map(str, arguments)])
    assert dfc_tables.main() == 0


def test_the_table_of_kernel_sizes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dfc_tables, "KERNELS", (3, 5, 7))
    picture = tmp_path / "dfc.svg"
    run(monkeypatch, "ghostnetv2_digits", "--json", "--plot", picture)
    content = json.loads(capsys.readouterr().out)
    rows = {(row["kernel_size"], row["fit"]): row for row in content["rows"]}
    assert {kernel for kernel, _ in rows} == {3, 5}  # the model's own maps have 5 taps
    assert content["attentions"] == 14
    assert content["shared_kernel_sizes"] == [5]
    for (kernel, _), row in rows.items():
        assert row["macs"] * 3 == rows[3, "projection"]["macs"] * kernel
        if kernel == 5:
            assert row["error"] < 1e-12 > row["drift"]
            assert row["top1_agreement"] == 1.0
        else:
            assert 0.1 < row["error"] <= row["worst_error"]
            assert row["drift"] > 0.01
    assert rows[3, "least-squares"]["error"] < rows[3, "projection"]["error"]
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")  # noqa: S314  (our own file)
    assert list(tmp_path.iterdir()) == [picture]


def test_the_table_as_text_and_png(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dfc_tables, "KERNELS", (3,))
    monkeypatch.setattr(dfc_tables, "FITS", ("projection",))
    picture = tmp_path / "dfc.png"
    run(monkeypatch, "ghostnetv2_digits", "--plot", picture)
    assert "14 attentions with shared maps of 5 taps" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_tables_figures_are_those_of_the_convolutions() -> None:
    """One attention of dense maps: its error computed directly from the matrices."""
    from torch import nn

    from mobilekit.models.dfc import DenseFullyConnected

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.horizontal = DenseFullyConnected(2, 6, "horizontal")
            self.vertical = DenseFullyConnected(2, 6, "vertical")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.vertical(self.horizontal(x))

    torch.manual_seed(0)
    model = nn.Sequential(Attention(), nn.Flatten())
    calibration, evaluation = torch.randn(2, 7, 2, 6, 6).unbind(0)
    table = dfc_tables.dfc_table(model, (1, 2, 6, 6), calibration, evaluation)
    assert table.fully_connected_macs == 2 * (2 * 6 * 6 * 6)
    assert {row.kernel_size for row in table.rows} == {1, 3, 5, 7, 9, 11}

    def banded(matrix: torch.Tensor, kernel: int) -> torch.Tensor:
        result = torch.zeros_like(matrix)
        for offset in range(-(kernel // 2), kernel // 2 + 1):
            for channel in range(len(matrix)):
                mean = matrix[channel].diagonal(offset).mean() if abs(offset) < 6 else 0.0
                result[channel].diagonal(offset).fill_(mean)
        return result

    with torch.no_grad():
        x = evaluation.double()
        attention = model[0]
        across, down = attention.horizontal.weight.double(), attention.vertical.weight.double()
        truth = down @ (x @ across.transpose(1, 2))
        for row in (row for row in table.rows if row.fit == "projection"):
            k = row.kernel_size
            other = banded(down, k) @ (x @ banded(across, k).transpose(1, 2))
            error = ((other - truth).norm() / truth.norm()).item()
            assert (row.error, row.drift) == pytest.approx((error, error), rel=1e-9)
            assert row.macs == 2 * (2 * 36 * k)
            assert row.worst_attention == "0"


def test_a_model_without_such_maps_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    inputs = torch.zeros(2, 1, 2, 2)
    with pytest.raises(UsageError, match="no DFC attention written as fully connected"):
        dfc_tables.dfc_table(model, (1, 1, 2, 2), inputs, inputs)
