"""What layers cost in a dynamic-range file beside the same layers in float32: an estimate, of shapes alone.

Such a layer rounds its inputs as they come, multiplies bytes, and scales each output. Where it has few inputs or few
outputs for each value that it reads, the rounding costs more than float32's products. The figures are instructions of
a Cortex-A76, fitted to counts (`mobilekit bench --device emulated --core a76`, LiteRT 2.3.0) of the 195 such layers of
GhostNet, GhostNetV2, ShuffleNet and EfficientViT-b1. Of these four files the estimate is .93 to 1.04 times the count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mobilekit.artifacts.tflite import TFLiteGraph, type_of

_TAKEN, _WEIGHTS = 0, 1  # places of an op's inputs
_NARROW = 8
"""XNNPACK's products with other numbers of outputs than multiples of it run in a narrower kernel (`f32_gemm_4x2`)."""


@dataclass(frozen=True)
class _Rates:
    """Instructions of a layer."""

    product: float
    """For each multiply-accumulate."""
    made: float
    """For each value that it makes."""
    place: float = 0.0
    """For each place of its map."""
    taken: float = 0.0
    """For each value that it takes."""


_FLOAT32_WIDE, _FLOAT32_NARROW = _Rates(0.35, 0.87), _Rates(0.47, 5.0)
_FLOAT32_WINDOWS, _FLOAT32_ONE = _Rates(0.33, 2.3, 33), _Rates(0.43, 3.8)
_DYNAMIC, _DYNAMIC_WINDOWS, _DYNAMIC_ONE = (
    _Rates(0.094, 3.2, 350, 4.5),
    _Rates(0.07, 2.5, 27, 3.3),
    _Rates(0.15, 12, 0, 10),
)


@dataclass(frozen=True)
class Layer:
    """A layer that takes float32."""

    taken: int
    """Values that it takes."""
    places: int
    """Of its map; 1 of a fully connected layer."""
    channels: int
    """Of its map."""
    weights: int
    """Of each channel."""
    windows: bool
    """It reads more than one place for each of its own, or some of the channels."""

    @classmethod
    def of(
        cls, taken: tuple[int, ...], made: tuple[int, ...], depth: int, weights: tuple[int, int], stride: int
    ) -> Layer:
        """Return a layer by the shapes of what it takes and makes.

        Args:
            taken: In any order of axes, as `made`.
            made: See `taken`.
            depth: Channels that it takes.
            weights: How many channels it makes, and how many weights each has.
            stride: The largest.
        """
        channels, each = weights
        places = math.prod(made) // channels
        return cls(math.prod(taken), places, channels, each, stride != 1 or each != depth)

    def cost(self, rates: _Rates) -> float:
        """Return its instructions."""
        made = self.places * self.channels
        work = rates.product * made * self.weights + rates.made * made
        return work + rates.place * self.places + rates.taken * self.taken

    def both(self) -> tuple[float, float]:
        """Return its instructions in a dynamic-range file, and in float32."""
        if self.windows:
            return self.cost(_DYNAMIC_WINDOWS), self.cost(_FLOAT32_WINDOWS)
        if self.places == 1:
            return self.cost(_DYNAMIC_ONE), self.cost(_FLOAT32_ONE)
        return self.cost(_DYNAMIC), self.cost(_FLOAT32_NARROW if self.channels % _NARROW else _FLOAT32_WIDE)

    @property
    def stays_float(self) -> bool:
        """Whether it is on a map and takes more instructions with its inputs rounded; its weights are few then.

        Those of a layer on one place are what it costs and what a file weighs.
        """
        dynamic, float32 = self.both()
        return self.places > 1 and dynamic > float32


def dynamic_ratio(content: bytes) -> float | None:
    """Return the instructions of a file's dynamically rounded layers as a multiple of theirs in float32, estimated.

    Args:
        content: A TFLite file.

    Returns:
        The ratio; None for a file without such layers.
    """
    costs = [layer.both() for layer in _layers(TFLiteGraph(content), "INT8").values()]
    return sum(dynamic for dynamic, _ in costs) / sum(float32 for _, float32 in costs) if costs else None


def kept_float(content: bytes) -> set[int]:
    """Return the convolutions of a float32 file, by their ops, that a dynamic-range file of ours leaves in float."""
    graph = TFLiteGraph(content)
    return {op for op, layer in _layers(graph, "FLOAT32").items() if graph.kinds[op] == "CONV_2D" and layer.stays_float}


def _layers(graph: TFLiteGraph, weights_type: str) -> dict[int, Layer]:
    """Return the layers that take float32 and have weights of this type, by their ops."""
    found = {}
    for op in graph.ops_of(("CONV_2D", "FULLY_CONNECTED")):
        taken, weights = graph.operands[op][_TAKEN], graph.operands[op][_WEIGHTS]
        [made] = graph.results[op]
        if type_of(graph.tensors[weights]) != weights_type or not graph.is_float32(taken):
            continue
        channels, *others = graph.shape(weights)
        options, shape = graph.options(op), tuple(graph.shape(taken))
        stride = max(getattr(options, "strideH", 1), getattr(options, "strideW", 1))
        found[op] = Layer.of(shape, tuple(graph.shape(made)), shape[-1], (channels, math.prod(others)), stride)
    return found
