"""Channels of unlike ranges scaled to alike ones, so that int8's one step for a tensor serves them all."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch.fx import GraphModule

from mobilekit.models.inputs import Tensors
from mobilekit.rewrites.base import Exactness, Options, Rewrite, Site
from mobilekit.rewrites.contract import applied_to
from mobilekit.rewrites.shared.carried import Carried, Factors, carried, layer_at
from mobilekit.rewrites.shared.channel_noise import ChannelNoise

_SHARES = (1.0, 0.5)
"""How much of the way to alike ranges is tried, as an exponent; at a half the weights behind take the other half."""
_GAIN = 0.5
"""Noise power left at most, of what there was: smaller gains do not outlive other pictures. With 0.95, int8 files of
GhostNet with seeded weights had .080 for .078 (relative L2)."""


@dataclass(frozen=True)
class _Group:
    """Channels whose tensors meet: a factor on some of them moves what is best for all."""

    marks: frozenset[int]
    makers: tuple[str, ...]
    """Paths of the layers that make them."""
    takers: tuple[str, ...]


class EqualizeChannels(Rewrite[Options]):
    """Exact: what a layer multiplies its output channels by, those behind it divide their input channels by.

    Factors are powers of two, so float32 results keep every bit. They are at least 1, and make no tensor's range wider
    on the inputs that tell it. In front of a depthwise layer they cost nothing: its weights have a scale for each
    channel. In front of another they move noise into its weights. So they stay where int8 leaves at most half of the
    noise behind these layers, on calibration inputs that were kept back, with corrected biases and with others.

    Source: Nagel et al. 2019, arXiv 1906.04721, section 4.1.
    """

    name = "equalize-channels"
    exactness = Exactness.EXACT_WHEN
    summary = "Channels of unlike ranges between layers scaled to alike ones by powers of two, for int8"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._carried = Carried()
        self._groups: dict[str, _Group] = {}
        self._factors: dict[str, Factors] = {}
        """Those of a site, by its path."""

    def find(self, graph: GraphModule) -> list[Site]:
        """Return the first layer of each group of channels that others behind take, and what could be none."""
        if self.name in applied_to(graph):
            return []
        found = carried(graph)
        self._carried, self._groups = found, _groups(found)
        grouped = {path for group in self._groups.values() for path in group.makers}
        taken = set[int]().union(*(found.of(ends.taken) for ends in found.layers.values()))
        return [
            Site(ends.node.name, path)
            for path, ends in found.layers.items()
            if path in self._groups or (path not in grouped and found.of(ends.made) & taken)
        ]

    def why_not(self, graph: GraphModule, site: Site) -> str | None:
        """Refuse where every channel that was found also goes where a factor would be seen."""
        if site.path in self._groups:
            return None
        found = self._carried
        return found.reasons[min(found.of(found.layers[site.path].made) & found.reasons.keys())]

    def prepare(self, graph: GraphModule, sites: list[Site], calibration: Tensors | None) -> None:
        """Choose the factors by the ranges of channels on some inputs, and try them on others."""
        if calibration is None:
            return
        noise = ChannelNoise(graph, self._carried, calibration)
        self._factors = {site.path: _chosen(noise, self._groups[site.path]) for site in sites}

    def apply(self, graph: GraphModule, site: Site) -> None:
        """Scale the weights on both sides."""
        group, factors, found = self._groups[site.path], self._factors.get(site.path, {}), self._carried
        for path in dict.fromkeys([*group.makers, *group.takers]) if factors else ():
            ends = replace(found.layers[path], layer=layer_at(graph, path))  # another site may have scaled it
            made, taken = (found.factors(marks, factors) for marks in (ends.made, ends.taken))
            graph.set_submodule(path, ends.scaled(made, taken))

    def left_alone(self, site: Site) -> str | None:
        """Tell of the sites at which int8 gains too little."""
        return None if self._factors.get(site.path) else "int8 would not have half of the noise for it"

    def told(self, site: Site) -> str:
        """Return how many channels have a factor, and the largest."""
        factors = self._factors[site.path]
        made = [self._carried.layers[path].made for path in self._groups[site.path].makers]
        scaled = self._carried.factors(torch.cat(made), factors)
        return f"{int((scaled > 1).sum())} of {len(scaled)} channels, up to {float(scaled.max()):g} times"


def _groups(found: Carried) -> dict[str, _Group]:
    """Return the groups of channels that may have factors, by the path of the first layer that makes some."""
    wider = found.sets.copy()
    for marks in found.marks.values():
        wider.join(pairwise(found.free(marks)))
    members: dict[int, set[int]] = defaultdict(set)
    makers: dict[int, dict[str, None]] = defaultdict(dict)
    takers: dict[int, dict[str, None]] = defaultdict(dict)
    for path, ends in found.layers.items():
        for marks, layers in ((ends.made, makers), (ends.taken, takers)):
            for mark in found.free(marks):
                members[wider.one(mark)].add(mark)
                layers[wider.one(mark)][path] = None
    return {
        next(iter(makers[group])): _Group(frozenset(marks), tuple(makers[group]), tuple(takers[group]))
        for group, marks in members.items()
        if makers[group] and takers[group]
    }


def _chosen(noise: ChannelNoise, group: _Group) -> Factors:
    """Return the factors of a group that leave the least noise; none where it is as good without."""
    limits = noise.limits(group.marks, group.takers)
    tried = [{mark: 2.0 ** math.floor(share * limit) for mark, limit in limits.items()} for share in _SHARES]
    candidates = [factors for factors in tried if max(factors.values(), default=1.0) > 1]
    if not candidates:
        return {}
    without = _noise_behind(noise, group, {})
    shares = [
        max(
            left / before if before else 1.0
            for left, before in zip(_noise_behind(noise, group, each), without, strict=True)
        )
        for each in candidates
    ]
    best = min(range(len(shares)), key=shares.__getitem__)
    return candidates[best] if shares[best] <= _GAIN else {}


def _noise_behind(noise: ChannelNoise, group: _Group, factors: Factors) -> list[float]:
    """Return the noise behind all layers that take the channels, whether biases are corrected or not."""
    return [sum(each) for each in zip(*(noise.behind(path, factors) for path in group.takers), strict=True)]
