"""Which modules cost an int8 file most, found by imitating it with each of them in float."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node

from mobilekit.parity.float_nodes import is_dense
from mobilekit.parity.metrics import compare
from mobilekit.parity.noise import EveryTensorRounded, Ranges, round_weights_to_int8
from mobilekit.recipes.modules import is_inside
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.graph import path_of
from mobilekit.runtimes.base import Arrays
from mobilekit.runtimes.pytorch import TorchRuntime

_LARGEST_SHARE = 0.25  # of the dense layers, in one candidate


@dataclass(frozen=True)
class Point:
    """One choice of modules, and what the imitation of int8 gives with them in float."""

    modules: tuple[str, ...]
    layers: int
    """Convolutions and fully connected layers in float."""
    macs_share: float
    """Their share of the multiply-accumulates of all."""
    relative_l2: float
    cosine: float
    """Smallest of all inputs and outputs."""

    def to_json(self) -> dict[str, Any]:
        """Return the point as JSON data."""
        return {**asdict(self), "modules": list(self.modules)}


class FloatSearch:
    """A greedy search: the module that takes the most error away for each dense layer in it comes first.

    Gains are measured again when their turn comes, as they shrink where an earlier choice has done the same work.

    Args:
        graph: The rewritten model, float32.
        inputs: float32 (N, ...) by name, to measure on.
        int8: What the recipe says of int8 already.
        ranges: What `activations.record` gave for the calibration inputs.
        progress: Is told what goes on.
    """

    def __init__(
        self,
        graph: GraphModule,
        inputs: Arrays,
        int8: Int8,
        ranges: Ranges,
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.graph, self.inputs, self.int8, self.ranges, self.progress = graph, inputs, int8, ranges, progress
        self._truth = TorchRuntime(graph).run(inputs)
        self._rounded = copy.deepcopy(graph)  # once: a copy takes longer than a run
        round_weights_to_int8(self._rounded)
        self._macs = _macs_by_layer(graph, {name: array[:1] for name, array in inputs.items()})
        self._weights = {
            layer: tuple(net.get_submodule(layer).get_parameter("weight").data for net in (graph, self._rounded))
            for layer in self._macs
        }

    def points(self) -> Iterator[Point]:
        """Yield the choices in their order: first what the recipe has, then one module more each time."""
        point = self.measure(self.int8.float_modules)
        yield point
        gains: dict[str, float] = {}
        for path in self.candidates():
            self.progress(f"int8 with a part in float: {len(gains) + 1} of {len(self.candidates())}, {path}")
            gains[path] = self._gain(point, self.measure((*point.modules, path)))
        while gains:
            path = max(gains, key=lambda name: gains[name])
            self.progress(f"int8 with {len(point.modules) + 1} parts in float: {path}")
            following = self.measure((*point.modules, path))
            gains[path] = self._gain(point, following)
            if gains[path] < max(gains.values()):
                continue
            if gains[path] <= 0:
                return
            point = following
            gains = {name: gain for name, gain in gains.items() if self._layers((name,)) - self._layers(point.modules)}
            yield point

    def measure(self, modules: tuple[str, ...]) -> Point:
        """Imitate int8 with these modules in float."""
        layers = self._layers(modules)
        for layer, (own, rounded) in self._weights.items():
            self._rounded.get_submodule(layer).get_parameter("weight").data = own if layer in layers else rounded
        int8 = EveryTensorRounded(self._rounded, self.int8.keep_float, self.ranges, modules)
        outputs = TorchRuntime(int8).run(self.inputs)
        metrics = [compare(self._truth[name], outputs[name]) for name in self._truth]
        return Point(
            modules,
            len(layers),
            sum(self._macs[layer] for layer in layers) / sum(self._macs.values()),
            max(one.relative_l2 for one in metrics),
            min(one.cosine for one in metrics),
        )

    def candidates(self) -> list[str]:
        """Return the paths of modules with several dense layers, and of the layers that stand outside all modules.

        A layer alone in float only has its weights unrounded. Of modules with the same layers the outermost is taken,
        and none with a quarter of all.
        """
        found: dict[frozenset[str], str] = {}
        for layer in self._macs:
            parts = layer.split(".")
            for path in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
                found.setdefault(frozenset(self._layers((path,))), path)
        most = max(1, int(_LARGEST_SHARE * len(self._macs)))
        return [path for layers, path in found.items() if len(layers) <= most and (len(layers) > 1 or "." not in path)]

    def _layers(self, modules: tuple[str, ...]) -> set[str]:
        return {layer for layer in self._macs if is_inside(layer, modules)}

    def _gain(self, before: Point, after: Point) -> float:
        """Return the squared error that goes, for each layer more in float."""
        more = after.layers - before.layers
        return (before.relative_l2**2 - after.relative_l2**2) / more if more else 0.0


def _macs_by_layer(graph: GraphModule, one: Arrays) -> dict[str, int]:
    """Return the multiply-accumulates of each dense layer by its path, for one input."""
    macs: dict[str, int] = {}

    class Counter(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            result = super().run_node(n)
            if n.op == "call_module" and is_dense(graph, n):
                weight = graph.get_submodule(str(n.target)).get_parameter("weight")
                places = int(np.prod(result.shape)) // weight.shape[0]
                macs[path_of(n)] = macs.get(path_of(n), 0) + places * weight.numel()
            return result

    with torch.inference_mode():
        Counter(graph).run(*(torch.from_numpy(array) for array in one.values()))
    return macs
