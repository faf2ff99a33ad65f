"""What a recipe says of outputs is tried on the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.jobs.declared_outputs import check_outputs
from mobilekit.recipes.schema import Output

IMAGES = {"input": torch.rand(3, 3, 8, 8)}
DETECTIONS = Output(detections="xyxy")


class Net(nn.Module):
    def __init__(self, made: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.made = made

    def forward(self, image: torch.Tensor) -> object:
        return self.made(image.flatten(1))


def detections(x: torch.Tensor, unit: float = 1.0, **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    shape = (len(x), 5)
    made = {
        "boxes": unit * x[:, :20].reshape(*shape, 4),
        "kinds": x[:, :5].round(),
        "scores": x[:, :5],
        "count": x[:, 0],
    }
    return made | changes


def test_detections_are_four_tensors() -> None:
    check_outputs(Net(detections), DETECTIONS, IMAGES)
    check_outputs(Net(lambda x: tuple(detections(x).values())), DETECTIONS, IMAGES)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda x: x, "is for other outputs than logits 1x192 of float32"),
        (lambda x: detections(x, kinds=x[:, :5].long()), "kinds 1x5 of int64"),
        (lambda x: detections(x, scores=x[:, :4]), "scores 1x4 of float32"),
        (lambda x: dict(reversed(detections(x).items())), "count 1"),
        (lambda x: detections(x, kinds=x[:, :5], scores=x[:, :5].round()), "no whole numbers of classes"),
        (lambda x: detections(x, scores=2 + x[:, :5]), "no scores of 0 to 1"),
        (lambda x: detections(x, unit=640), "and no shares of the input's width and height"),
    ],
)
def test_others_are_refused(made: Callable[[torch.Tensor], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_outputs(Net(made), DETECTIONS, IMAGES)


def test_nothing_is_run_where_nothing_is_said() -> None:
    def fails(_x: torch.Tensor) -> object:
        raise AssertionError

    check_outputs(Net(fails), Output(), IMAGES)
    with pytest.raises(UsageError, match="that of a softmax already"):
        check_outputs(Net(lambda x: x.softmax(1)), Output(activation="softmax"), IMAGES)
