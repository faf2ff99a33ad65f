"""What int8 leaves of channels on calibration inputs, with factors on them and without."""

from __future__ import annotations

import math
from collections.abc import Collection, Set

import torch
from torch import nn
from torch.func import functional_call
from torch.fx import GraphModule, Node

from mobilekit.models.depthwise import FastDepthwise
from mobilekit.models.inputs import Tensors
from mobilekit.rewrites.fx.graph import input_node
from mobilekit.rewrites.fx.ops import RELU, is_call, value_users
from mobilekit.rewrites.fx.record import record_values
from mobilekit.rewrites.shared.carried import Carried, Factors, compact
from mobilekit.rewrites.shared.int8 import in_steps

_FITTED, _KEPT_BACK = 8, 4
"""Inputs that tell the ranges, and others that tell the noise."""
_LEAST_WEIGHT = 2.0**-12
"""Largest weight of a channel at least: float16's smallest normal number is 2^-14, and below it digits go."""


class ChannelNoise:
    """Ranges of a graph's channels on some calibration inputs, and what int8 makes of others.

    Args:
        graph: In float64.
        found: Its marks.
        calibration: float64 (N, ...) by name.
    """

    def __init__(self, graph: GraphModule, found: Carried, calibration: Tensors) -> None:
        self.found = found
        self.room: dict[int, float] = {}
        """By mark: how many times its largest value goes into its tensor's, where that is least."""
        self.lowest: dict[str, torch.Tensor] = {}
        self.highest: dict[str, torch.Tensor] = {}
        """Of each channel that a layer takes, on the inputs that tell the ranges; float64 (C,)."""
        self.kept: dict[str, list[torch.Tensor]] = {}
        """What a layer takes on the others."""
        self._measure(graph, calibration)

    def _measure(self, graph: GraphModule, calibration: Tensors) -> None:
        count = len(next(iter(calibration.values())))
        chosen = torch.linspace(0, count - 1, min(count, _FITTED + _KEPT_BACK)).round().long().tolist()
        every = (_FITTED + _KEPT_BACK) // _KEPT_BACK
        largest: dict[Node, torch.Tensor] = {}
        for turn, index in enumerate(chosen):
            inputs = {name: tensor[index : index + 1] for name, tensor in calibration.items()}
            with FastDepthwise():
                values = record_values(graph, inputs)
            if turn % every == every - 1:
                for path, ends in self.found.layers.items():
                    self.kept.setdefault(path, []).append(values[input_node(ends.node)])
                continue
            for node, marks in self.found.marks.items():
                if node in values and not _is_fused(graph, node):
                    found = _largest(values[node], marks)
                    largest[node] = torch.maximum(largest.get(node, found), found)
            for path, ends in self.found.layers.items():
                channels = _channels(values[input_node(ends.node)], ends.layer)
                low, high = channels.amin(1), channels.amax(1)
                self.lowest[path] = torch.minimum(self.lowest.get(path, low), low)
                self.highest[path] = torch.maximum(self.highest.get(path, high), high)
        for node, values_of in largest.items():
            self._note_room(self.found.ones[compact(self.found.marks[node])].flatten(), values_of.flatten())

    def _note_room(self, marks: torch.Tensor, largest: torch.Tensor) -> None:
        whole = float(largest.max())
        names, places = torch.unique(marks, return_inverse=True)
        own = torch.zeros(len(names), dtype=torch.float64).scatter_reduce(0, places, largest, "amax")
        for mark, value in zip(names.tolist(), own.tolist(), strict=True):
            if value > 0:
                self.room[mark] = min(self.room.get(mark, math.inf), whole / value)

    def limits(self, marks: Set[int], takers: Collection[str]) -> dict[int, float]:
        """Return the largest factor that each mark may have, as the logarithm to the base 2, 0 at least.

        A channel that is zero on all inputs here has no range to tell its factor. It gets the one that makes its
        weights behind as small as the largest of the other channels', whose digits they would take otherwise.
        """
        weights = [self._weights(path, marks) for path in takers]
        limits = {mark: math.log2(self.room[mark]) for mark in marks if mark in self.room}
        for mark, weight in ((mark, weight) for each in weights for mark, weight in each.items() if mark in limits):
            limits[mark] = max(0.0, min(limits[mark], math.log2(weight / _LEAST_WEIGHT)))
        alike = dict.fromkeys(marks - limits.keys(), 0.0)
        for each in weights:
            scaled = [weight / 2.0 ** limits[mark] for mark, weight in each.items() if mark in limits]
            for mark in alike.keys() & each.keys() if scaled else ():
                alike[mark] = max(alike[mark], math.log2(each[mark] / max(scaled)))
        return limits | alike

    def _weights(self, path: str, marks: Set[int]) -> dict[int, float]:
        """Return the largest weight with which a layer takes each of some marks, where there is one but zero."""
        ends = self.found.layers[path]
        largest = ends.weights_of_inputs().abs().amax(1).tolist()
        pairs = zip(self.found.ones[ends.taken].tolist(), largest, strict=True)
        return {mark: weight for mark, weight in pairs if mark in marks and weight}

    def behind(self, path: str, factors: Factors) -> tuple[float, float]:
        """Return the relative noise power at a layer's output, with int8 weights and inputs, on inputs kept back.

        All of it, and without the mean error of each channel, which the int8 file's biases may take up.
        """
        ends = self.found.layers[path]
        scale = self.found.factors(ends.taken, factors)
        low = min(0.0, float((self.lowest[path] * scale).min()))
        high = max(0.0, float((self.highest[path] * scale).max()))
        step = max(high - low, 1e-30) / 255
        shape = ends.shape_of_factors()
        exact, rounded = [], []
        weight = ends.divided(scale)
        weight = in_steps(weight, tuple(range(1, weight.ndim)))
        for value in self.kept.get(path, []):
            x = (value * scale.reshape(shape)).clamp(low, high)
            x = (x / step).round() * step
            with torch.no_grad():
                exact.append(_channels(ends.layer(value), ends.layer))
                rounded.append(_channels(functional_call(ends.layer, {"weight": weight}, (x,)), ends.layer))
        if not exact:
            return 0.0, 0.0
        wanted, error = torch.cat(exact, 1), torch.cat(rounded, 1) - torch.cat(exact, 1)
        size = wanted.square().sum().clamp(min=1e-30)
        corrected = (error - error.mean(1, keepdim=True)).square().sum() / size
        return float(error.square().sum() / size), float(corrected)


def _channels(value: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """Return a value (N, C, H, W), or (..., C) of a linear layer, as (C, others)."""
    return value.movedim(1 if isinstance(layer, nn.Conv2d) else -1, 0).flatten(1)


def _largest(value: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
    """Return the largest magnitude of each mark that is not a repetition."""
    spread = [axis for axis, stride in enumerate(marks.stride()) if stride == 0]
    return value.abs().amax(spread, keepdim=True) if spread else value.abs()


def _is_fused(graph: GraphModule, node: Node) -> bool:
    """Return whether only a ReLU sees a value: no int8 tensor has its range."""
    users = value_users(graph, node)
    return len(users) == 1 and is_call(graph, users[0], RELU)
