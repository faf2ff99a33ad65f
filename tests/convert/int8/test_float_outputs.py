"""Outputs that stay in float: one scale of int8 does not hold their parts, or the recipe keeps what makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph
from mobilekit.convert.tflite import write_quantized
from mobilekit.recipes.schema import Int8
from mobilekit.store.stages import Precision
from tests.converting import Converted, normal

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)
COUNT = 14


class Heads(nn.Module):
    """Two heads on one map: boxes up to `size`, scores up to 1."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.size, self.map = size, nn.Conv2d(3, 8, 3, padding=1)
        self.box, self.score = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 3, 1)

    def parts(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.map(image))
        return self.size * torch.sigmoid(self.box(hidden)), torch.sigmoid(self.score(hidden))


class Joined(Heads):
    """One output of both, as detectors of one stage have it; `last` puts the parts on the last axis."""

    def __init__(self, size: float, *, last: bool = False) -> None:
        super().__init__(size)
        self.last = last

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        joined = torch.cat(self.parts(image), 1).flatten(2)
        return joined.transpose(1, 2) if self.last else joined


class Read(Joined):
    """The same, and what else is made of the output."""

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        joined = super().forward(image)
        return {"joined": joined, "places": nn.functional.avg_pool1d(joined, 4)}


class Apart(Heads):
    """Two outputs."""

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        boxes, scores = self.parts(image)
        return {"boxes": boxes, "scores": scores}


class Sizes(Heads):
    """Sizes of boxes beside 0, by an exponential, as detectors decode them, with `offset` added last."""

    def __init__(self, offset: float) -> None:
        super().__init__(16.0)
        self.offset = offset

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.box(torch.relu(self.map(image))).exp() * self.size + self.offset


class Classes(nn.Module):
    """Probabilities of three classes at each place, of which one is hardly ever likely."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.map = nn.Conv2d(3, 3, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (self.map(image) - torch.tensor([0.0, 0.0, 12.0]).reshape(1, 3, 1, 1)).softmax(1)


def quantized(
    model: nn.Module, folder: Path, precision: Precision = "int8", settings: Int8 | None = None
) -> tuple[dict[str, object], LiteRTRuntime, Converted]:
    net = Converted(model, SHAPE, folder)
    path, calibration = folder / f"{precision}.tflite", {"input": normal(COUNT, *SHAPE)}
    told = write_quantized(net.float32, path, calibration, folder / "scratch", settings=settings, precision=precision)
    return told, LiteRTRuntime(path, net.layouts), net


def made_by_ops(path: Path) -> list[str]:
    """Return the kind of op that makes each output of a file."""
    graph = TFLiteGraph(path.read_bytes())
    return [graph.kinds[graph.makers[number]] for number in graph.outputs()]


@pytest.mark.parametrize("last", [False, True])
def test_scores_beside_boxes_keep_their_values(last: bool, tmp_path: Path) -> None:
    told, runtime, net = quantized(Joined(64, last=last), tmp_path)
    (name,) = told["float_outputs"]  # type: ignore[misc]
    inputs = normal(4, *SHAPE, seed=9)
    made = runtime.run({"input": inputs})[name]
    with torch.no_grad():
        wanted = net.model(torch.from_numpy(inputs)).numpy()
    made, wanted = (each.swapaxes(1, 2) if last else each for each in (made, wanted))
    for part in range(4, 7):
        assert len(np.unique(made[:, part])) >= 100
        assert np.linalg.norm(made[:, part] - wanted[:, part]) < 0.05 * np.linalg.norm(wanted[:, part])


def test_an_output_that_stays_in_float_may_be_read_by_others(tmp_path: Path) -> None:
    told, runtime, net = quantized(Read(64.0), tmp_path)
    assert "joined" in told["float_outputs"]  # type: ignore[operator]
    inputs = normal(4, *SHAPE, seed=9)
    with torch.no_grad():
        wanted = net.model(torch.from_numpy(inputs))
    for name, made in runtime.run({"input": inputs}).items():
        error = np.linalg.norm(made - wanted[name].numpy()) / np.linalg.norm(wanted[name].numpy())
        assert error < 0.02, name


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
@pytest.mark.parametrize("io", ["int8", "float32"])
def test_an_output_that_the_recipe_computes_in_float_is_not_rounded(
    precision: Precision, io: Literal["int8", "float32"], tmp_path: Path
) -> None:
    settings = Int8(keep_float=("exponential",), io=io)
    told, runtime, net = quantized(Sizes(100.0), tmp_path, precision, settings)
    assert told.get("kept_outputs", ["output"]) == ["output"]
    inputs = normal(4, *SHAPE, seed=9)
    made = runtime.run({"input": inputs})["output"]
    with torch.no_grad():
        wanted = net.model(torch.from_numpy(inputs)).numpy()
    assert made_by_ops(tmp_path / f"{precision}.tflite") == ["ADD"]
    assert np.linalg.norm(made - wanted) < 0.05 * np.linalg.norm(wanted - 100)


@pytest.mark.parametrize("model", [Joined(1.0), Apart(64.0), Classes()], ids=["alike", "apart", "probabilities"])
def test_outputs_that_int8_holds_are_int8(model: nn.Module, tmp_path: Path) -> None:
    told, _runtime, _net = quantized(model, tmp_path)
    assert told["float_outputs"] == told["kept_outputs"] == []
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(str(tmp_path / "int8.tflite")).get_output_details()
    assert {each["dtype"] for each in details} == {np.int8}
