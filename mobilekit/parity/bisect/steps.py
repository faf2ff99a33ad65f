"""A reference as steps that can be run again from any of its tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves, tree_map

from mobilekit.artifacts.pytorch import as_array
from mobilekit.models.inputs import input_names
from mobilekit.parity.bisect.layouts import Floats
from mobilekit.rewrites.fx.graph import path_of

Treatment = Callable[[torch.Tensor], torch.Tensor]
"""What is done to each tensor that a step makes, such as rounding it to a format."""
Values = dict[str, Any]


class Steps(ABC):
    """The steps of a graph, each making one value by its name.

    Attributes:
        names: All inputs and steps that depend on them, in an order in which they can be run.
        inputs: The graph's inputs: the name of the value by the name that callers use.
        outputs: The values that the graph returns, in order.
        reads: What each step reads, but for constants.
        cached: The value of each for the inputs that the graph was opened with.
    """

    cached: Values
    names: list[str]
    inputs: dict[str, str]
    outputs: list[str]
    reads: dict[str, tuple[str, ...]]

    @abstractmethod
    def compute(self, step: str, values: Mapping[str, Any]) -> Any:
        """Return what a step makes of the values that it reads; those are left as they are."""

    @abstractmethod
    def module(self, step: str) -> str:
        """Return the module or node that a step belongs to."""

    @abstractmethod
    def value(self, step: str, array: NDArray[Any]) -> Any:
        """Return an array as the value of a step."""

    @abstractmethod
    def array(self, value: Any) -> NDArray[Any] | None:
        """Return a value as an array, int64 where it has labels; None where it is no tensor."""

    def between(self, borders: Collection[str], step: str) -> list[str]:
        """Return the steps that make `step` of the borders, in order, itself the last."""
        needed, waiting = {step}, [step]
        while waiting:
            for source in self.reads[waiting.pop()]:
                if source not in borders and source not in needed:
                    needed.add(source)
                    waiting.append(source)
        return [name for name in self.names if name in needed]

    def run(self, known: Values, step: str) -> Any:
        """Return the value of a step, computed from those in `known`, where what is computed is added."""
        if step not in known:
            for name in self.between(known, step):
                known[name] = self.compute(name, known)
        return known[step]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        arrays = {name: self.array(value) for name, value in self.cached.items()}
        return {name: array.shape for name, array in arrays.items() if array is not None}


def dependent(order: Iterable[str], reads: Mapping[str, Iterable[str]], inputs: Collection[str]) -> list[str]:
    """Return what depends on the inputs, them included, in order: all that is not constant."""
    found = set(inputs)
    for name in order:
        if any(source in found for source in reads[name]):
            found.add(name)
    return [name for name in order if name in found]


class TorchSteps(Steps):
    """A torch.fx graph. What is computed from sizes alone counts as constant.

    Args:
        graph: float32, in evaluation mode.
        inputs: One of each input by name, float32 (1, ...).
        output_hook: Is done to each tensor of floating point numbers that a step makes.
    """

    def __init__(self, graph: GraphModule, inputs: Mapping[str, Floats], output_hook: Treatment | None = None) -> None:
        self._graph, self._output_hook = graph, output_hook
        self._nodes: dict[str, Node] = {node.name: node for node in graph.graph.nodes if node.op != "output"}
        taken = [node.name for node in graph.graph.nodes if node.op == "placeholder"]
        self.inputs = dict(zip(input_names(graph), taken, strict=True))
        returned = next(node for node in graph.graph.nodes if node.op == "output")
        self.outputs = []
        map_arg(returned.args, lambda node: self.outputs.append(node.name))
        values: Values = {self.inputs[name]: torch.from_numpy(array) for name, array in inputs.items()}
        for name in self._nodes:
            if name not in values:
                values[name] = self._hooked(self._call(name, values))
        reads = {name: [source.name for source in node.all_input_nodes] for name, node in self._nodes.items()}
        order = [name for name in self._nodes if _has_tensor(values[name])]
        self.names = dependent(order, reads, taken)
        self.reads = {name: tuple(each for each in reads[name] if each in set(self.names)) for name in self.names}
        self.cached = {name: values[name] for name in self.names}
        self._constants = {name: value for name, value in values.items() if name not in self.cached}

    def compute(self, step: str, values: Mapping[str, Any]) -> Any:
        """See `Steps.compute`."""
        return self._hooked(self._call(step, {**self._constants, **{name: values[name] for name in self.reads[step]}}))

    def _hooked(self, result: Any) -> Any:
        is_tensor = isinstance(result, torch.Tensor) and result.is_floating_point()
        return self._output_hook(result) if self._output_hook and is_tensor else result

    def _call(self, step: str, values: Values) -> Any:
        node = self._nodes[step]
        interpreter = Interpreter(self._graph, garbage_collect_values=False)
        # Copies, as a step may work in place.
        interpreter.env = {source: tree_map(_copied, values[source.name]) for source in node.all_input_nodes}
        with torch.no_grad():
            return interpreter.run_node(node)

    def module(self, step: str) -> str:
        """Return the path of the module that a step calls, or in whose `forward` it stands.

        A step in the model's own `forward` has its own name.
        """
        path = path_of(self._nodes[step])
        return path.removesuffix(f".{step}")

    def value(self, step: str, array: NDArray[Any]) -> torch.Tensor:
        """See `Steps.value`."""
        dtype: torch.dtype = self.cached[step].dtype
        return torch.from_numpy(array).to(dtype)

    def array(self, value: Any) -> NDArray[Any] | None:
        """See `Steps.array`."""
        return as_array(value) if isinstance(value, torch.Tensor) else None


def _has_tensor(value: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(value))


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
