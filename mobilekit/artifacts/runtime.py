"""What a runtime does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.errors import ToolError, UsageError

Arrays = dict[str, NDArray[Any]]
"""float32 by name; outputs that are integers or booleans are int64, and so are told apart as labels."""
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
    back. N inputs are run as many at once as the model takes; where some lack for the last run, the last fills it up.
    """

    name: str = "the model"
    inputs: Sequence[TensorInfo] = ()
    """What the model takes, in its order; none where that shows only when it runs."""

    def run(self, inputs: Arrays) -> Arrays:
        """Run the model.

        Args:
            inputs: float32 by name, images as (N, C, H, W). A model of one input takes it under any name.

        Returns:
            Outputs by name, first axis N: float32, or int64 where they are labels.

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

    @property
    def batch(self) -> int:
        """How many inputs the model takes at once; 1 where it takes any number."""
        return max(self._batches(), default=1)

    def _batches(self) -> set[int]:
        return {size for info in self.inputs for size in info.shape[:1] if isinstance(size, int) and size > 0}

    def _matched(self, inputs: Arrays) -> Arrays:
        """Return the inputs by the model's own names."""
        if not self.inputs:
            return inputs
        if len(self.inputs) == len(inputs) == 1:
            inputs = {self.inputs[0].name: next(iter(inputs.values()))}
        given = {name: (1, *array.shape[1:]) for name, array in inputs.items()}
        takes = self.input_shapes()
        is_known = given.keys() == takes.keys() and len(self._batches()) < 2
        if not is_known or not all(fits(given[name], shape) for name, shape in takes.items()):
            raise UsageError(
                f"{self.name} takes {listed_shapes(takes)}, and was given {listed_shapes(given)}.",
                "The first axis is the batch, the same of all inputs.",
            )
        if len({len(array) for array in inputs.values()}) != 1:
            counts = " and ".join(f"{len(array)} of {name}" for name, array in inputs.items())
            raise UsageError(f"{self.name} takes as many of one input as of another, and was given {counts}.")
        return inputs


def is_label(array: NDArray[Any]) -> bool:
    """Return whether an output has labels in it, integers or booleans, and no quantities."""
    return array.dtype.kind in "iub"


def batches(array: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """Yield inputs (N, ...) as many at a time as a model takes, the last of them repeated where some lack."""
    for start in range(0, len(array), size):
        part = array[start : start + size]
        yield part if len(part) == size else np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])


def as_output(array: NDArray[Any], batch: int = 1) -> NDArray[Any]:
    """Return an output for a batch as callers have it: (batch, ...), float32, or int64 where it has labels.

    Raises:
        ToolError: It is of several inputs, and not one row for each.
    """
    is_whole = bool(array.ndim) and len(array) == batch
    if not is_whole and batch > 1:
        raise ToolError(f"An output has the shape {array.shape} for a batch of {batch}: no row for each input.")
    row = array if is_whole else array[None]
    return row.astype(np.int64 if is_label(array) else np.float32, copy=False)


def fits(shape: Sequence[int], other: Sequence[Size]) -> bool:
    """Return whether a shape is what a model takes, as it is or with the channels last, in batches of any size."""
    forms = [tuple(shape), *([(shape[0], *shape[2:], shape[1])] if len(shape) > 2 else [])]
    return any(
        len(form) == len(other)
        and all(not isinstance(b, int) or b < 1 or a == b for a, b in zip(form[1:], other[1:], strict=True))
        for form in forms
    )


def listed_shapes(shapes: Mapping[str, Sequence[Size]]) -> str:
    """Return shapes by name as words of a sentence."""
    return " and ".join(f"{name} of {'x'.join(map(str, shape)) or '1'}" for name, shape in shapes.items())
