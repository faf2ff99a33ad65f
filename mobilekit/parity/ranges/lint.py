"""Warns of what the smaller number formats will do to a model's activations, before there is a file or a phone.

Each warning names the module, the figure, the threshold with its reason, and what helps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch.fx import GraphModule, Node

from mobilekit.artifacts.runtime import Arrays
from mobilekit.parity.ledger.float_nodes import float_nodes, fused_nodes, nodes_inside
from mobilekit.parity.ledger.rounding import round_to_256_steps
from mobilekit.parity.ranges.activations import Activation, Recording, record
from mobilekit.parity.ranges.float16 import LARGEST, LEAST, LEAST_NORMAL, Norm, Quotient, probes, to_float16
from mobilekit.parity.ranges.result import RangeLint, RangeWarning, Severity
from mobilekit.recipes.schema import BEYOND_8_BITS, Int8, Recipe
from mobilekit.rewrites.fx.graph import module_path_of, path_of
from mobilekit.rewrites.fx.ops import ADAPTIVE_AVERAGE_POOL, AVERAGE_POOL, MEAN, is_call

HEADROOM = 2
"""An input may make values twice as large as the calibration's largest: a photo in double the light does."""
LOST_IN_FLOAT16 = 2.0**-8
"""Relative L2 error of a tensor in float16: 8 times the 2^-11 that rounding alone makes, so small values are lost."""
TAIL = 0.001
"""Outliers are at most the thousandth part of the values: clipping them to the rest would cost little."""
LEAST_SNR = 20.0
"""dB of the values without the outliers. Below, rounding is a tenth of them: 10 dB is what the whole model may lose."""
LEAST_LEVELS = 16
"""Of the 256 levels, for the median channel: 4 of the 8 bits."""
GROWTH = 1.1
"""Ranges a tenth wider with all inputs than with half of them: the next ones are cut by as much, 25 of 256 levels."""
GROWING_SHARE = 0.2
"""Of the tensors. The built-in calibration, on which int8 holds its limits, has under 0.1; twice that is too few."""
NAMED = 3
"""How many modules a warning about the whole model names."""

_KEEP_32 = "keep this part in float32 on a GPU (no loss of precision allowed), or scale its input down in the model"

_SAFE_DENOMINATOR = (
    "`{name: safe-denominator, max_drift: 0.001}` among the recipe's rewrites keeps the denominator at 2^-14 or more."
)
_RAISE_EPS = (
    "Add 2^-14 = 6.1e-05 or more to the denominator in the model: the rewrite safe-denominator takes none that may be "
    "negative."
)
_MORE_PICTURES = (
    "Calibrate on more pictures, like those that the phone sees: --calibration FOLDER, and calibration.count in the "
    "recipe."
)


def lint(graph: GraphModule, inputs: Arrays, recipe: Recipe) -> tuple[RangeLint, Recording]:
    """Run a model on calibration inputs, and return what its ranges warn of, and what was recorded.

    Args:
        graph: The rewritten model, float32.
        inputs: float32 (N, ...) by name.
        recipe: Says which formats are made, and what int8 leaves in float.
    """
    looking = probes(graph)
    recording = record(graph, inputs, looking, recipe.pixels)
    found = [*_overflows(graph, recording), *_sums(graph, recording), *_underflows(recording)]
    for probe in looking:
        found += _quotient(probe) if isinstance(probe, Quotient) else _norm(probe)
    if "int8" in recipe.number_formats:
        found += _int8(graph, recording, recipe.int8)
    return RangeLint(recording.count, tuple(sorted(found, key=lambda one: one.severity != "severe"))), recording


def _warn(
    kind: str, severity: Severity, node: Node, figure: float, threshold: float, text: str, advice: str
) -> RangeWarning:
    return RangeWarning(kind, severity, module_path_of(node), node.name, figure, threshold, text, advice)


def _overflows(graph: GraphModule, recording: Recording) -> Iterator[RangeWarning]:
    """Values above float16's largest, where they first come up."""
    above = {node: seen.largest for node, seen in recording.activations.items() if seen.largest > LARGEST / HEADROOM}
    for node in graph.graph.nodes:
        largest = above.get(node, 0.0)
        is_over = largest > LARGEST
        if not largest or any(above.get(one, 0.0) > (LARGEST if is_over else 0.0) for one in node.all_input_nodes):
            continue
        text = f"values up to {largest:.4g}, and float16 ends at {LARGEST:g}" + (
            "" if is_over else f": an input that makes them {HEADROOM} times as large overflows"
        )
        advice = f"No rewrite helps: {_KEEP_32}."
        yield _warn("float16-overflow", "severe" if is_over else "warning", node, largest, LARGEST, text, advice)


def _sums(graph: GraphModule, recording: Recording) -> Iterator[RangeWarning]:
    """Means whose sums are above float16's largest, though the means are not."""
    for node, seen in recording.activations.items():
        if not is_call(graph, node, MEAN, AVERAGE_POOL, ADAPTIVE_AVERAGE_POOL):
            continue
        before = recording.activations.get(node.all_input_nodes[0])
        size = math.prod(before.shape) // max(math.prod(seen.shape), 1) if before else 1
        total = seen.largest * size
        if seen.largest <= LARGEST / HEADROOM < total:
            is_over = total > LARGEST
            text = f"a mean over {size} values, whose sum is up to {total:.4g}; float16 ends at {LARGEST:g}" + (
                "" if is_over else f", {LARGEST / total:.2g} times that"
            )
            advice = f"Pool in two steps in the model, each over fewer values, or {_KEEP_32}."
            yield _warn("float16-sum", "severe" if is_over else "warning", node, total, LARGEST, text, advice)


def _underflows(recording: Recording) -> Iterator[RangeWarning]:
    """Tensors whose values are lost below float16's least normal number."""
    for node, seen in recording.activations.items():
        sample = seen.sample
        size = float(sample.norm())
        if not size or seen.largest > LARGEST:
            continue
        lost = float((to_float16(sample, subnormals=False).float() - sample).norm()) / size
        if lost > LOST_IN_FLOAT16:
            text = f"values up to {seen.largest:.2g}, of which float16 without subnormal numbers loses {lost:.1%}"
            advice = "Scale this tensor up in the model and what reads it down, by the same power of 2: that is exact."
            severity: Severity = "severe" if lost == 1 else "warning"
            yield _warn("float16-underflow", severity, node, lost, LOST_IN_FLOAT16, text, advice)


def _quotient(probe: Quotient) -> Iterator[RangeWarning]:
    eps = probe.eps if probe.eps is not None and 0 < probe.eps < LEAST_NORMAL else None
    advice = _SAFE_DENOMINATOR if probe.bound is not None and probe.bound >= 0 else _RAISE_EPS
    vanishes = ""
    if eps is not None:
        vanishes = f"eps {eps:g} is 0 in float16"
        if eps > LEAST / 2:
            vanishes = f"eps {eps:g} is below float16's least normal number 2^-14, and 0 on GPUs that have none below"
    broken = probe.broken[True] or probe.broken[False]
    if broken:
        always = bool(probe.broken[True])
        share = broken / probe.count
        where = "in float16" if always else "in float16 without subnormal numbers"
        text = f"{share:.2g} of the results are infinite or not a number {where}" + (
            f": {vanishes}" if vanishes else ""
        )
        severity: Severity = "severe" if always else "warning"
        yield _warn("float16-denominator", severity, probe.node, share, 0.0, text, advice)
    elif eps is not None and probe.bound is not None and probe.bound <= eps:
        text = f"{vanishes}, and the denominator may be 0; the least one here is {probe.least:.2g}"
        yield _warn("float16-denominator", "warning", probe.node, eps, LEAST_NORMAL, text, advice)


def _norm(probe: Norm) -> Iterator[RangeWarning]:
    if probe.largest_sum > LARGEST / HEADROOM:
        is_over = probe.largest_sum > LARGEST
        text = f"a variance whose sum of squares is up to {probe.largest_sum:.4g}; float16 ends at {LARGEST:g}"
        advice = f"A normalization is the same of a smaller input: scale it down before, or {_KEEP_32}."
        severity: Severity = "severe" if is_over else "warning"
        yield _warn("float16-sum", severity, probe.node, probe.largest_sum, LARGEST, text, advice)
    if probe.is_zero(subnormals=False):
        text = f"a variance of {probe.least:.2g} with eps {probe.eps:g} is 0 in float16, and its root is divided by"
        advice = "Raise eps in the model to 2^-14 = 6.1e-05 or more."
        severity = "severe" if probe.is_zero(subnormals=True) else "warning"
        yield _warn("float16-denominator", severity, probe.node, probe.least, LEAST_NORMAL, text, advice)


def _int8(graph: GraphModule, recording: Recording, int8: Int8) -> Iterator[RangeWarning]:
    unrounded = float_nodes(graph, int8.keep_float) | fused_nodes(graph) | nodes_inside(graph, int8.float_modules)
    rounded = {node: seen for node, seen in recording.activations.items() if node not in unrounded}
    words: dict[str, set[Node]] = {
        word: float_nodes(graph, [word]) for word in BEYOND_8_BITS if word not in int8.keep_float
    }
    told: set[Node] = set()
    for node, seen in rounded.items():
        low, high = recording.ranges[node.name]
        for found in (_outliers(node, seen, low, high, words), _spread(node, seen, low, high, words)):
            if found and not told.intersection(node.all_input_nodes):  # reshapes and sums hand it on
                yield found
            if found:
                told.add(node)
    yield from _growing(recording, [node for node in rounded if node.op != "placeholder"])


def _outliers(
    node: Node, seen: Activation, low: float, high: float, words: Mapping[str, set[Node]]
) -> RangeWarning | None:
    sample = torch.from_numpy(np.sort(seen.sample.clamp(low, high).numpy()))  # torch's sort takes several times as long
    cut = math.ceil(len(sample) * TAIL / 2)
    bulk = sample[cut : len(sample) - cut]
    if not len(bulk) or not float(bulk.norm()):
        return None
    wide, narrow = high - low, max(float(bulk[-1]), 0.0) - min(float(bulk[0]), 0.0)
    error = float((bulk - round_to_256_steps(bulk, low, high)).norm())
    snr = 20 * math.log10(float(bulk.norm()) / error) if error else math.inf
    if snr >= LEAST_SNR:
        return None
    levels = max(1, round(255 * narrow / wide))
    text = (
        f"all but {TAIL:g} of the values have {levels} of int8's 256 levels, and {snr:.0f} dB: the range is "
        f"{low:.3g} to {high:.3g}, theirs {float(bulk[0]):.3g} to {float(bulk[-1]):.3g}"
    )
    return _warn("int8-outliers", "warning", node, snr, LEAST_SNR, text, _int8_advice(node, seen, words))


def _spread(
    node: Node, seen: Activation, low: float, high: float, words: Mapping[str, set[Node]]
) -> RangeWarning | None:
    if len(seen.shape) != 4 or math.prod(seen.shape[2:]) < 2 or seen.channel_low is None or seen.channel_high is None:
        return None  # one value a channel: its range is between pictures, as it must be
    widths = seen.channel_high.clamp_min(0) - seen.channel_low.clamp(low, 0)
    alive = widths[widths > 0]
    if len(alive) < 2:
        return None
    levels = float(alive.median()) / (high - low) * 255
    if levels >= LEAST_LEVELS:
        return None
    widest = int(widths.argmax())
    text = (
        f"the median channel has {levels:.2g} of int8's 256 levels: the widest, channel {widest}, goes from "
        f"{float(seen.channel_low[widest]):.3g} to {float(seen.channel_high[widest]):.3g}"
    )
    return _warn("int8-channels", "warning", node, levels, LEAST_LEVELS, text, _int8_advice(node, seen, words))


def _int8_advice(node: Node, seen: Activation, words: Mapping[str, set[Node]]) -> str:
    word = next((word for word, nodes in words.items() if node in nodes), None)
    if word:
        return f"`int8: {{keep_float: [{word}]}}` in the recipe leaves this in float."
    sizes = torch.maximum(torch.cat(seen.highs), -torch.cat(seen.lows))
    if len(sizes) > 1 and float(sizes.max()) > HEADROOM * float(sizes.sort().values[-2]):
        return (
            f"Calibration input {int(sizes.argmax())} alone makes this range: leave it out of --calibration if it is "
            "not like what the phone sees."
        )
    return (
        "Use the dynamic or float16 file where int8 fails its limits: no part that int8.keep_float names covers this."
    )


def _growing(recording: Recording, nodes: list[Node]) -> Iterator[RangeWarning]:
    if recording.count < 2 or not nodes:
        if nodes:
            text = "int8 would have the ranges of one calibration input, and no other need be within them"
            yield RangeWarning("calibration-small", "warning", "", "", 1.0, 2.0, text, _MORE_PICTURES)
        return
    growth = {node: _growth(recording.activations[node]) for node in nodes}
    share = sum(grown > GROWTH for grown in growth.values()) / len(nodes)
    if share > GROWING_SHARE:
        most = sorted(growth, key=lambda node: -growth[node])[:NAMED]
        named = ", ".join(f"{path_of(node)} (x {growth[node]:.2f})" for node in most)
        text = (
            f"ranges still grow: {share:.0%} of the tensors are over {GROWTH - 1:.0%} wider with all {recording.count} "
            f"calibration inputs than with half of them, most of all {named}"
        )
        yield _warn("calibration-small", "warning", most[0], share, GROWING_SHARE, text, _MORE_PICTURES)


def _growth(seen: Activation) -> float:
    """Return the range of all inputs over the mean one of halves of them: the first, the last, the even, the odd."""
    lows, highs = torch.cat(seen.lows).clamp_max(0), torch.cat(seen.highs).clamp_min(0)
    half = len(lows) // 2
    parts = (slice(0, half), slice(len(lows) - half, None), slice(0, None, 2), slice(1, None, 2))
    widths = [float(highs[part].max() - lows[part].min()) for part in parts]
    whole, mean = float(highs.max() - lows.min()), sum(widths) / len(widths)
    return whole / mean if mean else (math.inf if whole else 1.0)
