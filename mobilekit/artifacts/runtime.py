"""What a runtime does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilekit.errors import UsageError

Arrays = dict[str, NDArray[np.float32]]
Size = int | str | None
"""A length of an axis; a name, None or a number below 1 stands for any length."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model, as its file has it."""

    name: str
    shape: tuple[Size, ...]
    dtype: str
    """numpy's name of the number format."""


class Runtime(ABC):
    """A model that is open and can be run.

    Callers speak float32, NCHW and names; a runtime turns those into its model's own layout and number format and
    back. A batch of N is run as N inputs of one where the model takes one.
    """

    name: str = "the model"
    inputs: Sequence[TensorInfo] = ()
    """What the model takes, in its order; none where that shows only when it runs."""

    def run(self, inputs: Arrays) -> Arrays:
        """Run the model.

        Args:
            inputs: float32 by name, images as (N, C, H, W). A model of one input takes it under any name.

        Returns:
            float32 by name, first axis N.

        Raises:
            UsageError: The model takes other inputs.
            ToolError: It failed while it ran.
        """
        return self._run(self._matched(inputs))

    @abstractmethod
    def _run(self, inputs: Arrays) -> Arrays:
        """Run the model on inputs of its own names and shapes."""

    def input_shapes(self) -> dict[str, tuple[Size, ...]]:
        """Return the shape of each input, by its name."""
        return {info.name: info.shape for info in self.inputs}

    def _matched(self, inputs: Arrays) -> Arrays:
        """Return the inputs by the model's own names."""
        if not self.inputs:
            return inputs
        if len(self.inputs) == len(inputs) == 1:
            inputs = {self.inputs[0].name: next(iter(inputs.values()))}
        given = {name: (1, *array.shape[1:]) for name, array in inputs.items()}
        takes = self.input_shapes()
        if given.keys() != takes.keys() or not all(fits(given[name], shape) for name, shape in takes.items()):
            raise UsageError(
                f"{self.name} takes {listed_shapes(takes)}, and was given {listed_shapes(given)}.",
                "Each input is run by itself, as a batch of 1.",
            )
        if len({len(array) for array in inputs.values()}) != 1:
            counts = " and ".join(f"{len(array)} of {name}" for name, array in inputs.items())
            raise UsageError(f"{self.name} takes as many of one input as of another, and was given {counts}.")
        return inputs


def fits(shape: Sequence[int], other: Sequence[Size]) -> bool:
    """Return whether a shape is what a model takes, as it is or with the channels last."""
    forms = [tuple(shape), *([(shape[0], *shape[2:], shape[1])] if len(shape) > 2 else [])]
    return any(
        len(form) == len(other)
        and all(not isinstance(b, int) or b < 1 or a == b for a, b in zip(form, other, strict=True))
        for form in forms
    )


def listed_shapes(shapes: Mapping[str, Sequence[Size]]) -> str:
    """Return shapes by name as words of a sentence."""
    return " and ".join(f"{name} of {'x'.join(map(str, shape)) or '1'}" for name, shape in shapes.items())
