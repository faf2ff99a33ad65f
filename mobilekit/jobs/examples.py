"""A recipe for the inputs that a model is shown with: their shapes say its size and its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.inputs import parameters_of
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import ExtraInput
from mobilekit.store.bundle import INPUT
from mobilekit.store.manifest import EXAMPLES

Examples = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]
_COLORS = {1: "gray", 4: "rgba"}
_SIDES = range(8, 4097)


def by_name(examples: Examples, model: nn.Module | None) -> dict[str, torch.Tensor]:
    """Return examples by the names of inputs: the first, a picture, is `input`, and others have their parameters'.

    Args:
        examples: One tensor, several in the order of forward's parameters, or by the names of these.
        model: What takes them; None where only a tensor can be named.

    Raises:
        UsageError: They are no tensors, or more than the model takes.
    """
    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    if model is None and len(examples) > 1:
        raise UsageError("example_inputs of a model by name are one tensor.", "Describe further inputs in a recipe.")
    names = [one.name for one in parameters_of(model)] if model else [INPUT]
    if not isinstance(examples, Mapping):
        if len(examples) > len(names):
            raise UsageError(f"There are {len(examples)} example_inputs, and the model takes {len(names)}.")
        examples = dict(zip(names, examples, strict=False))
    found = {INPUT if name == names[0] else name: tensor for name, tensor in examples.items()}
    if not found or next(iter(found)) != INPUT or not all(isinstance(each, torch.Tensor) for each in found.values()):
        raise UsageError(
            "example_inputs are no tensors with a picture first.",
            "Give one tensor, several in the order of forward's parameters, or a dict of them by these names.",
        )
    return found


def for_examples(loaded: LoadedRecipe, examples: Examples, model: nn.Module | None = None) -> LoadedRecipe:
    """Return a recipe whose inputs have the shapes of these examples, each a batch of one.

    Where the number of channels says another color than the recipe's, values are 0 to 1 until `mean` and `std` say
    else; of more than four channels, the inputs are arrays.

    Raises:
        UsageError: They are no inputs that an export takes.
    """
    tensors = by_name(examples, model)
    shape = tuple(tensors[INPUT].shape)
    if len(shape) != 4 or not all(side in _SIDES for side in shape[2:]):
        raise UsageError(
            f"The first of example_inputs has the shape {shape}, and no picture's.",
            "It is N x channels x height x width, and height and width are 8 to 4096.",
        )
    spec = loaded.recipe.input
    changes: dict[str, Any] = {"size": shape[2:]}
    if shape[1] != spec.channel_count:
        color = {3: "rgb", **_COLORS}.get(shape[1])
        values = {"mean": (0.0,) * shape[1], "std": (1.0,) * shape[1]}
        changes |= {"color": color, "channels": None, **values} if color else {"channels": shape[1]}
    picture = Input.model_validate({**spec.model_dump(), **changes})
    extras = {name: ExtraInput(shape=(1, *each.shape[1:])) for name, each in tensors.items() if name != INPUT}
    recipe = loaded.recipe.model_copy(
        update={"input": picture, "extra_inputs": {**loaded.recipe.extra_inputs, **extras}}
    )
    told = ("size", "channels") if picture.channels else ("size",)
    return replace(loaded, recipe=recipe, set_by={**loaded.set_by, **dict.fromkeys(told, EXAMPLES)})
