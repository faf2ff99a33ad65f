"""Which ranges a whole network gets: those that pictures kept back tell for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.tflite import TAP, TFLiteGraph
from mobilekit.convert.int8.calibration import observe
from mobilekit.convert.int8.ranges import WITH_ROOM, choose_rules
from mobilekit.convert.int8.trial import CHOSEN, ranges_of
from mobilekit.convert.tasks.quantize import Quantizer
from mobilekit.convert.tflite import write_quantized
from mobilekit.recipes.schema import Int8
from tests.converting import Converted, normal

pytestmark = pytest.mark.slow

SHAPE = (3, 8, 8)
COUNT = 42
SETTINGS = Int8().model_dump(mode="json")


class Net(nn.Module):
    """A map whose range a scale of the inputs makes, and an output of its mean; perhaps a value inside before that."""

    def __init__(self, is_tapped: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.is_tapped = is_tapped
        self.first, self.second, self.dense = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.second(torch.relu(self.first(image)))
        result = self.dense(torch.relu(hidden).mean((2, 3)))
        return {f"{TAP}0": hidden, "result": result} if self.is_tapped else {"result": result}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return Converted(Net(), SHAPE, tmp_path_factory.mktemp("trial"))


def made(net: Converted, pictures: NDArray[np.float32], path: Path, **settings: object) -> dict[str, object]:
    (path / "scratch").mkdir()
    told = write_quantized(net.float32, path / "int8.tflite", {"input": pictures}, path / "scratch", Int8(**settings))
    assert (path / "int8.tflite").exists()
    return told


def test_pictures_of_one_kind_with_a_wide_one_are_better_with_chosen_ranges(net: Converted, tmp_path: Path) -> None:
    pictures = normal(COUNT, *SHAPE)
    pictures[4] *= 20  # neither sampled alone nor kept back: it makes whole ranges, and nothing else
    told = made(net, pictures, tmp_path)
    assert told["ranges"] == "chosen" and told["pictures"] == 6
    errors = told["relative_l2"]
    assert errors["chosen"]["mean"] < errors["min-max"]["mean"] * 0.95  # type: ignore[index]  # the input, which is never cut, is wide too


def test_chosen_ranges_that_cut_one_picture_are_not_taken(net: Converted) -> None:
    """The trial is told of a file that is right on the mean and off on one picture, by a quantizer that makes it so."""
    content = net.float32.read_bytes()
    calibration = {"input": normal(COUNT, *SHAPE).transpose(0, 2, 3, 1)}
    observed = observe(content, calibration)
    good, bad = (
        Quantizer(content, {"input": scale * calibration["input"]}, (), (), {**SETTINGS, "ranges": "min-max"}).int8()[0]
        for scale in (1, np.float32(0.3))
    )
    kinds = ("min-max", "chosen", "careful")
    for wanted in kinds:
        made = iter([good if kind == wanted else bad for kind in kinds])
        _ranges, told = ranges_of(observed, TFLiteGraph(content), lambda _ranges, made=made: next(made))  # type: ignore[misc]
        assert told["ranges"] == wanted
        assert [*told["relative_l2"]] == [*kinds]
        assert all(
            told["relative_l2"][wanted]["worst"] < told["relative_l2"][kind]["worst"] for kind in {*kinds} - {wanted}
        )


def test_a_copy_that_shows_values_inside_is_judged_by_the_models_own_outputs(net: Converted, tmp_path: Path) -> None:
    calibration = {"input": normal(COUNT, *SHAPE).transpose(0, 2, 3, 1)}
    tapped = Converted(Net(is_tapped=True), SHAPE, tmp_path).float32.read_bytes()
    plain, copied = (observe(content, calibration) for content in (net.float32.read_bytes(), tapped))
    assert [len(one.outputs[0]) for one in (plain, copied)] == [1, 1]
    for one, other in zip(plain.outputs, copied.outputs, strict=True):
        np.testing.assert_allclose(*one.values(), *other.values(), rtol=1e-5, atol=1e-6)
    shown, answer = TFLiteGraph(tapped).outputs()
    assert TFLiteGraph(tapped).own_outputs() == {1: answer}
    calibration["input"][4] *= 20
    rules = choose_rules(TFLiteGraph(tapped), observe(tapped, calibration).seen)
    assert rules[answer] == WITH_ROOM != rules[shown]
    quantized = Quantizer(tapped, calibration, (), (), {**SETTINGS, "ranges": "min-max"}).int8()[0]
    _ranges, told = ranges_of(copied, TFLiteGraph(tapped), lambda _ranges: quantized)
    assert 0 < told["relative_l2"][CHOSEN]["mean"] < 0.2


@pytest.mark.parametrize(
    ("count", "settings", "fewest"), [(27, {}, {"fewest": 28}), (COUNT, {"ranges": "min-max"}, {})]
)
def test_few_pictures_and_a_recipe_that_says_so_leave_whole_ranges(
    net: Converted, tmp_path: Path, count: int, settings: dict[str, object], fewest: dict[str, int]
) -> None:
    told = made(net, normal(count, *SHAPE), tmp_path, **settings)
    assert told == {"ranges": "min-max", **fewest, "float_outputs": [], "kept_outputs": []}
