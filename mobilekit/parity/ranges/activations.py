"""What each step of a model makes of the calibration inputs, recorded in one run."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch.fx import GraphModule, Node

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.convert.byte_inputs import LARGEST
from mobilekit.convert.int8.calibration import HARD_SWISH_ZERO
from mobilekit.models.inputs import input_names
from mobilekit.parity.ledger.float_nodes import hard_swished_nodes
from mobilekit.parity.ledger.format_error import EachStep, Ranges

SAMPLE = 512
"""Values of each tensor that are kept of each input: with some tens of inputs, enough for the thousandth part at an end
of the distribution to be tens of values."""


@dataclass
class Activation:
    """What one step made."""

    node: Node
    shape: tuple[int, ...] = ()
    """Of its result for the first batch."""
    lows: list[torch.Tensor] = field(default_factory=list)
    """Lowest value of each input, in their order, batch by batch."""
    highs: list[torch.Tensor] = field(default_factory=list)
    channel_low: torch.Tensor | None = None
    """Lowest value of each channel (axis 1) over all inputs."""
    channel_high: torch.Tensor | None = None
    samples: list[torch.Tensor] = field(default_factory=list)
    """Up to `SAMPLE` values of each input, evenly spread."""

    def add(self, value: torch.Tensor, count: int) -> None:
        """Record a batch of `count` inputs."""
        self.shape = self.shape or tuple(value.shape)
        before = sum(map(len, self.lows))
        # Its first axis is not the inputs', or another is too: attention between inputs, as timm's csatv2 has it.
        if value.dim() == 0 or len(value) != count or value.shape[1:] != self.shape[1:]:
            low, high = _finite_ends(value.reshape(1, -1))
            self.lows.append(low.expand(count))
            self.highs.append(high.expand(count))
            self.samples.append(_spread(value.reshape(1, 1, -1), before))
            return
        rows = value.reshape(count, 1, -1) if value.dim() == 1 else value.reshape(count, value.shape[1], -1)
        lows, highs = _finite_ends(rows)
        self.lows.append(lows.amin(1))
        self.highs.append(highs.amax(1))
        low, high = lows.amin(0), highs.amax(0)
        self.channel_low = low if self.channel_low is None else torch.minimum(self.channel_low, low)
        self.channel_high = high if self.channel_high is None else torch.maximum(self.channel_high, high)
        self.samples.append(_spread(rows, before))

    @property
    def low(self) -> float:
        """Lowest value."""
        return min(float(low.min()) for low in self.lows)

    @property
    def high(self) -> float:
        """Highest value."""
        return max(float(high.max()) for high in self.highs)

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(-self.low, self.high)

    @property
    def sample(self) -> torch.Tensor:
        """All values that were kept."""
        return torch.cat(self.samples)


class Probe(Protocol):
    """Looks closer at a step."""

    node: Node
    """When this has been carried out, the probe is used."""
    needs: frozenset[Node]
    """Whose values it is given."""

    def see(self, values: Mapping[Node, torch.Tensor]) -> None:
        """Take in the values of one batch."""


@dataclass(frozen=True)
class Recording:
    """All steps of a graph on the calibration inputs."""

    count: int
    """Number of inputs."""
    activations: Mapping[Node, Activation]
    ranges: Ranges
    """Lowest and highest value of each step for int8, by its name; 0 is always within. What only Hard-Swishes read
    begins at -3: they are 0 below it. Of pixels it is that of a byte."""


def record(graph: GraphModule, inputs: Arrays, probes: Iterable[Probe] = (), pixels: Collection[str] = ()) -> Recording:
    """Run a graph on calibration inputs, and return what its steps made.

    Args:
        graph: float32.
        inputs: float32 (N, ...) by name.
        probes: Are given the values they need, batch by batch.
        pixels: Names of the inputs that are a picture's bytes.
    """
    recorder = _Recorder(graph, probes)
    TorchRuntime(recorder).run(inputs)
    lowest = dict.fromkeys(hard_swished_nodes(graph), HARD_SWISH_ZERO)
    ranges = {
        node.name: (min(0.0, max(seen.low, lowest.get(node, -math.inf))), max(0.0, seen.high))
        for node, seen in recorder.activations.items()
    }
    taken = zip((node for node in graph.graph.nodes if node.op == "placeholder"), input_names(graph), strict=True)
    ranges |= {node.name: (0.0, float(LARGEST)) for node, name in taken if name in pixels}
    return Recording(len(next(iter(inputs.values()))), recorder.activations, ranges)


class _Recorder(EachStep):
    def __init__(self, graph: GraphModule, probes: Iterable[Probe]) -> None:
        super().__init__(graph)
        self.activations: dict[Node, Activation] = {}
        self.probes: dict[Node, list[Probe]] = {}
        for probe in probes:
            self.probes.setdefault(probe.node, []).append(probe)
        self.needed = {node for members in self.probes.values() for probe in members for node in probe.needs}
        self.values: dict[Node, torch.Tensor] = {}
        self.count = 0

    def output_hook(self, node: Node, value: torch.Tensor) -> torch.Tensor:
        """Record the step's result."""
        if node.op == "placeholder":
            self.count = len(value)
        self.activations.setdefault(node, Activation(node)).add(value, self.count)
        if node in self.needed:
            self.values[node] = value.clone()  # later steps may work in place
        for probe in self.probes.get(node, ()):
            probe.see(self.values)
        return value


def _finite_ends(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return lowest and highest value along the last axis; what is not finite counts as the largest float32 or 0."""
    low, high = rows.amin(-1), rows.amax(-1)  # aminmax along an axis takes ten times as long
    if not bool(low.isfinite().all() and high.isfinite().all()):
        finite = rows.nan_to_num()
        low, high = finite.amin(-1), finite.amax(-1)
    return low, high


def _spread(rows: torch.Tensor, before: int) -> torch.Tensor:
    """Return up to `SAMPLE` values of each input, from another place on in each: no place may count more than others.

    Args:
        rows: (N, channels, values), in any order of memory.
        before: Number of inputs before these.
    """
    length = rows.shape[2]
    count = rows.shape[1] * length
    stride = (count // SAMPLE) | 1  # odd, to go through all columns of a picture
    inputs = torch.arange(len(rows))[:, None]
    places = (before + inputs + stride * torch.arange(min(count, SAMPLE))) % count
    return rows[inputs, places // length, places % length].reshape(-1).nan_to_num()
