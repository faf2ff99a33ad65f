"""Ranges of values in a file of int8 where one picture alone makes large ones inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.artifacts.tflite import TAP
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.executorch.lower import Quantization, lower
from mobilekit.convert.int8.ranges import FEWEST, is_kept_back
from mobilekit.convert.program.program import program_of
from mobilekit.rewrites.fx.graph import trace
from tests.converting import normal

SHAPE = (1, 3, 16, 16)
LIKE_OTHERS = normal(36, *SHAPE[1:])
WITH_A_PLAIN_ONE = np.concatenate([np.full(SHAPE, 3, np.float32), LIKE_OTHERS[1:]])
"""Sums over a plain picture are ten times those over noise; it is none of those that are kept back."""


class Sums(nn.Module):
    """Sums over windows, which a clamp behind the next layer hides from the output; and they themselves if wanted."""

    def __init__(self, shows_them: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shows_them = shows_them
        self.a, self.b = nn.Conv2d(3, 8, 7, bias=False), nn.Conv2d(8, 5, 1)
        with torch.no_grad():
            self.a.weight.copy_(1 + 0.1 * torch.randn_like(self.a.weight))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sums = torch.relu(self.a(x))
        y = nn.functional.hardtanh(self.b(sums), -20, 20)
        return (y, sums) if self.shows_them else (y,)


def outputs(folder: Path, pictures: NDArray[np.float32], choose: bool, shows_them: bool = False) -> NDArray[np.float32]:
    """Return what a file gives that was calibrated on pictures, on others."""
    shapes = {"input": SHAPE}
    net = Sums(shows_them).eval()
    program = program_of(trace(net, {"input": torch.zeros(SHAPE)}), shapes, FORMS)
    facts = {"inputs": ["input"], "outputs": ["y", *([f"{TAP}0"] if shows_them else [])]}
    path = folder / f"{len(pictures)}.{choose}.{shows_them}.pte"
    told = lower(program, path, folder, facts, Quantization([pictures], [], choose_ranges=choose)).ranges
    if not choose or len(pictures) < FEWEST:
        assert told == {"ranges": "histogram", **({"fewest": FEWEST} if choose else {})}
    else:
        errors = told["relative_l2"]
        assert (told["ranges"], told["pictures"]) == ("chosen", len(pictures) // 7)
        assert errors["chosen"]["mean"] < errors["histogram"]["mean"]
    return ExecuTorchRuntime(path).run({"input": normal(8, *SHAPE[1:], seed=1)})["y"]


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_a_range_leaves_out_what_one_picture_alone_makes(tmp_path: Path) -> None:
    assert not is_kept_back(0)
    with torch.no_grad():
        (wanted,) = Sums().eval()(torch.from_numpy(normal(8, *SHAPE[1:], seed=1)))
    theirs, ours = (
        float(np.linalg.norm(outputs(tmp_path, WITH_A_PLAIN_ONE, choose) - wanted.numpy()) / wanted.norm())
        for choose in (False, True)
    )
    assert ours < 0.5 * theirs < 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_a_copy_that_shows_values_inside_has_the_ranges_of_the_file(tmp_path: Path) -> None:
    file, copy = (outputs(tmp_path, WITH_A_PLAIN_ONE, True, shows_them) for shows_them in (False, True))
    np.testing.assert_array_equal(file, copy)


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_few_pictures_choose_nothing(tmp_path: Path) -> None:
    few = WITH_A_PLAIN_ONE[: FEWEST - 1]
    np.testing.assert_array_equal(*(outputs(tmp_path, few, choose) for choose in (False, True)))


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
@pytest.mark.parametrize("count", [FEWEST - 1, 36])
@pytest.mark.parametrize("choose", [True, False])
def test_an_output_is_never_cut(count: int, choose: bool, tmp_path: Path) -> None:
    pictures = normal(count, *SHAPE[1:]) ** 3  # a few values are many times as large as the others
    torch.manual_seed(0)
    net = nn.Conv2d(3, 4, 1).eval()
    program = program_of(trace(net, {"input": torch.zeros(SHAPE)}), {"input": SHAPE}, FORMS)
    facts = {"inputs": ["input"], "outputs": ["y"]}
    lower(program, tmp_path / "net.pte", tmp_path, facts, Quantization([pictures], [], choose_ranges=choose))
    made = ExecuTorchRuntime(tmp_path / "net.pte").run({"input": pictures})["y"]
    with torch.no_grad():
        wanted = net(torch.from_numpy(pictures)).numpy()
    for end in (np.min, np.max):
        assert abs(end(made) / end(wanted) - 1) < 0.03
