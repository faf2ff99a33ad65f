"""Models of several inputs that the tests export, and their recipes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.load import parse_recipe
from mobilekit.recipes.schema import Recipe

Array = NDArray[np.float32]


MASKED = """\
input: {size: 32}
extra_inputs:
  mask: {shape: [1, 1, 32, 32], range: [0, 1]}
  features: {shape: [1, 6, 8, 8]}
  prior: {shape: [1, 4]}
rewrites:
  - name: fold-batch-norm
"""


STEREO = "input: {size: 32}\nextra_inputs: {another: {like: input}}\n"


def stem() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())


class Masked(nn.Module):
    """A picture, a mask of one channel, features of a quarter of its size, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.mix = nn.Conv2d(14, 4, 1)
        self.classifier = nn.Linear(4, 5)

    def forward(
        self, image: torch.Tensor, mask: torch.Tensor, features: torch.Tensor, prior: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        shown = F.max_pool2d(self.stem(image * mask), 2)
        mixed = self.mix(torch.cat([shown, features], 1))
        scores = self.classifier(torch.sigmoid(F.avg_pool2d(mixed, 8)).flatten(1) + prior)
        return {"scores": scores, "map": mixed}


class Stereo(nn.Module):
    """Two pictures of one shape, which are not used alike; the parameter that comes last is first in the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = stem()
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, one: torch.Tensor, another: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(one) - 2 * self.stem(another))


def make_masked() -> Masked:
    return Masked()


def make_stereo() -> Stereo:
    return Stereo()


def recipe(text: str) -> Recipe:
    return parse_recipe(text, "mine", "mine.yaml").recipe


def arrays_of(text: str, count: int = 3) -> dict[str, Array]:
    return random_inputs(recipe(text), count, seed=9)
