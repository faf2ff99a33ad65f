"""What a model takes: one tensor, or several by the names of the parameters of its `forward`.

Inputs are a mapping from name to value everywhere. The first, an image, is called `input`, whatever the model calls
its parameter; the others have their parameters' names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.errors import UsageError, nearest
from mobilekit.models.shapes import Shapes
from mobilekit.store.bundle import INPUT

Tensors = dict[str, torch.Tensor]
Value = TypeVar("Value")


def call(model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> Any:
    """Run a model on its inputs and return its result as it is."""
    further = {name: tensor for name, tensor in inputs.items() if name != INPUT}
    return model(inputs[INPUT], **further)


def zeros(shapes: Shapes, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return inputs of these shapes, all zero."""
    return {name: torch.zeros(shape, dtype=dtype) for name, shape in shapes.items()}


def input_names(graph: GraphModule) -> list[str]:
    """Return the names of a traced model's inputs, in the order in which the graph takes them."""
    parameters = [str(node.target) for node in graph.graph.nodes if node.op == "placeholder"]
    return [INPUT, *parameters[1:]]


def arguments(graph: GraphModule, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return a traced model's inputs in the order in which the graph takes them."""
    return [inputs[name] for name in input_names(graph)]


def by_parameter(model: nn.Module, inputs: Mapping[str, Value]) -> dict[str, Value]:
    """Return values of inputs by the names of the parameters that take them, in the order of the inputs."""
    first = parameters_of(model)[0].name
    return {first if name == INPUT else name: value for name, value in inputs.items()}


def check_names(model: nn.Module, name: str, shapes: Shapes) -> None:
    """Check that `forward` takes the inputs of these names, and needs no others.

    Args:
        model: The model.
        name: What the user calls it.
        shapes: Shapes of the inputs by name.

    Raises:
        UsageError: It does not; the message names the parameter.
    """
    parameters = parameters_of(model)
    first, others = parameters[0], parameters[1:]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in others)
    known = {one.name: one for one in others if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    given = [word for word in shapes if word != INPUT]
    for word in given:
        if word == first.name:
            raise UsageError(
                f"{word} is the first input of {name}, and stands among the recipe's extra_inputs.",
                "The recipe's `input` describes it.",
            )
        if word not in known and not takes_any:
            raise UsageError(f"{name} has no further input {word}.", nearest(word, known))
    missing = [word for word, one in known.items() if one.default is one.empty and word not in given]
    if missing:
        size = ", ".join(map(str, shapes[INPUT][2:]))
        lines = [f"  {word}: {{shape: [1, 1, {size}]}}  # or {{like: input}}, another image" for word in missing]
        raise UsageError(
            f"{name} also takes {' and '.join(missing)}, which the recipe does not describe.",
            "\n".join(["Add to the recipe (--recipe FILE), with the right shape:", "extra_inputs:", *lines]),
        )


def parameters_of(model: nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of `forward`.

    Raises:
        UsageError: The first is not one that an image can be given to.
    """
    parameters = list(inspect.signature(model.forward).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise UsageError(f"{type(model).__name__}.forward takes no image: its first parameter must be one tensor.")
    return parameters
