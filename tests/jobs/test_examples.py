"""What example inputs say of a recipe's inputs."""

from __future__ import annotations

import torch
from torch import nn

from mobilekit.jobs.examples import by_name, for_examples
from mobilekit.recipes.load import load_recipe


class Pair(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * mask


def test_examples_have_the_names_of_inputs() -> None:
    image, mask = torch.zeros(2, 3, 40, 24), torch.ones(2, 1, 40, 24)
    for examples in ((image, mask), {"image": image, "mask": mask}, {"input": image, "mask": mask}):
        found = by_name(examples, Pair())  # type: ignore[arg-type]
        assert list(found) == ["input", "mask"] and found["mask"] is mask
    recipe = for_examples(load_recipe("default"), (image, mask), Pair()).recipe
    assert recipe.shapes == {"input": (1, 3, 40, 24), "mask": (1, 1, 40, 24)}


def test_channels_say_the_color() -> None:
    found = {}
    for channels in (1, 3, 4, 6):
        loaded = for_examples(load_recipe("default"), torch.zeros(1, channels, 32, 32))
        assert loaded.recipe.shapes == {"input": (1, channels, 32, 32)}
        found[channels] = (loaded.recipe.input.color, loaded.recipe.input.channels, loaded.origin_of("color"))
        assert loaded.origin_of("size") == "example_inputs"
    assert found[1] == ("gray", None, "assumed") and found[3] == ("rgb", None, "assumed")
    assert found[4] == ("rgba", None, "assumed") and found[6][1] == 6
    assert loaded.origin_of("channels") == "example_inputs"
