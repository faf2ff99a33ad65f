"""What int8 should leave in float: which parts of a model cost its outputs most, for what they would cost in time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.jobs.quantize_search.float_cost import FloatCost
from mobilekit.parity.ledger.format_error import FakeQuantInt8, Ranges
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.rounding import round_weights_to_int8
from mobilekit.recipes.modules import is_inside
from mobilekit.recipes.schema import FloatPart, Int8

_LARGEST_SHARE = 0.25
"""Of the multiply-accumulates, in one candidate: the search is for the little that matters."""
_LEAST = 0.02
"""Of the work, that a candidate counts as: each brings ops at its borders, however small it is."""
_WORDS = tuple(word for word in get_args(FloatPart) if word != "hard-swish")
"""Of `keep_float`. Hard-Swishes stay in float for the delegate's sake, and not for the outputs'."""


@dataclass(frozen=True)
class Point:
    """One choice of what stays in float, and what the simulation of int8 gives with it."""

    int8: Int8
    added: str
    """The word of `keep_float` or the module that came last; empty for what the recipe has already."""
    layers: int
    """Convolutions and fully connected layers in float."""
    macs_share: float
    """Their share of the multiply-accumulates of all."""
    values_share: float
    """Share of the computed values that are in float, or turned from float to int8 or back."""
    relative_l2: float
    cosine: float
    """Smallest of all inputs and outputs."""

    @property
    def cost(self) -> float:
        """The share of the work that int8 does not make cheaper: arithmetic and memory traffic weigh alike."""
        return (self.macs_share + self.values_share) / 2

    def to_json(self) -> dict[str, Any]:
        """Return the point as JSON data."""
        return {
            "added": self.added,
            "keep_float": list(self.int8.keep_float),
            "modules": list(self.int8.float_modules),
            "layers": self.layers,
            "macs_share": self.macs_share,
            "values_share": self.values_share,
            "cost": self.cost,
            "relative_l2": self.relative_l2,
            "cosine": self.cosine,
        }


class FloatSearch:
    """A greedy search: what takes the most error away for what it costs comes first.

    Gains are measured again when their turn comes, as they shrink where an earlier choice has done the same work. What
    words give, all over the model, may also grow with what is in float beside it: they are measured in each turn.

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
        self._cost = FloatCost(self._rounded, {name: array[:1] for name, array in inputs.items()})
        self._weights = {
            layer: tuple(net.get_submodule(layer).get_parameter("weight").data for net in (graph, self._rounded))
            for layer in self._cost.macs
        }

    def points(self) -> Iterator[Point]:
        """Yield the choices in their order: first what the recipe has, then one part more each time."""
        point = self.measure(self.int8)
        yield point
        gains: dict[str, float] = {}
        candidates = self.candidates()
        for part in candidates:
            self.progress(f"int8 with a part in float: {len(gains) + 1} of {len(candidates)}, {part}")
            gains[part] = _gain(point, self.measure(_with(point.int8, part), part))
        while gains:
            part = max(gains, key=lambda name: gains[name])
            self.progress(f"int8 with {part} in float too")
            following = self.measure(_with(point.int8, part), part)
            gains[part] = _gain(point, following)
            if gains[part] < max(gains.values()):
                continue
            if gains[part] <= 0:
                return
            point = following
            gains = {name: gain for name, gain in gains.items() if self._adds(point.int8, name)}
            for word in gains.keys() & set(_WORDS):
                gains[word] = _gain(point, self.measure(_with(point.int8, word), word))
            yield point

    def measure(self, int8: Int8, added: str = "") -> Point:
        """Simulate int8 with what it says in float."""
        layers = self._layers(int8.float_modules)
        for layer, (own, rounded) in self._weights.items():
            self._rounded.get_submodule(layer).get_parameter("weight").data = own if layer in layers else rounded
        simulation = FakeQuantInt8(self._rounded, int8.keep_float, self.ranges, int8.float_modules)
        outputs = TorchRuntime(simulation).run(self.inputs)
        metrics = [compare(self._truth[name], outputs[name]) for name in self._truth]
        return Point(
            int8,
            added,
            len(layers),
            self._cost.macs_share(layers),
            self._cost.values_share(simulation.in_float),
            max(one.relative_l2 for one in metrics),
            min(one.cosine for one in metrics),
        )

    def candidates(self) -> list[str]:
        """Return words of `keep_float` that say something here, and modules with more than a dense layer in them.

        A layer alone in float only has its weights unrounded; those that stand outside all modules are taken all the
        same, and so are all modules of a name, as `blocks.*.se`. Of modules with the same layers the outermost is
        taken, and none with a quarter of all work.
        """
        found: dict[frozenset[str], str] = {}
        for layer in self._cost.macs:
            parts = layer.split(".")
            alike = [f"{parts[0]}.*.{name}" for name in parts[1:] if name[0].isalpha()]
            for path in (*(".".join(parts[:count]) for count in range(1, len(parts) + 1)), *alike):
                found.setdefault(frozenset(self._layers((path,))), path)
        words = [word for word in _WORDS if self._adds(self.int8, word)]
        return words + [
            path
            for layers, path in found.items()
            if (len(layers) > 1 or "." not in path)
            and self._cost.macs_share(layers) <= _LARGEST_SHARE
            and self._adds(self.int8, path)
        ]

    def _adds(self, int8: Int8, part: str) -> bool:
        """Return whether a part leaves something in float that is not there already."""
        if part not in _WORDS:
            return bool(self._layers((part,)) - self._layers(int8.float_modules))
        before, after = (
            FakeQuantInt8(self._rounded, words, self.ranges, int8.float_modules).in_float
            for words in (int8.keep_float, (*int8.keep_float, part))
        )
        return before != after

    def _layers(self, modules: tuple[str, ...]) -> set[str]:
        return {layer for layer in self._cost.macs if is_inside(layer, modules)}


def _with(int8: Int8, part: str) -> Int8:
    """Return what a recipe says of int8, with a part more in float."""
    name = "keep_float" if part in _WORDS else "float_modules"
    return int8.model_copy(update={name: (*getattr(int8, name), part)})


def _gain(before: Point, after: Point) -> float:
    """Return the squared error that goes, for what more in float costs."""
    return (before.relative_l2**2 - after.relative_l2**2) / max(after.cost - before.cost, _LEAST)
