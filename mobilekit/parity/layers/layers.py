"""Every value inside a model, stage by stage: where an error comes in, and where it grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mobilekit.artifacts.runtime import Arrays
from mobilekit.parity.layers.result import Counterpart, LayerRow, Observer, StageLayers, TappedValue, TensorError
from mobilekit.parity.layers.simulated import Format, format_of
from mobilekit.parity.layers.taps import Tap
from mobilekit.parity.layers.tensor_error import ErrorSum
from mobilekit.parity.ledger.format_error import FLOAT32_TOLERANCE, FORMAT_SHARE
from mobilekit.parity.ledger.ledger import Opener
from mobilekit.parity.ledger.metrics import compare
from mobilekit.store.stages import Stage

LEAST = 2.0**-24
"""The rounding of one float32 operation: the least that is expected anywhere."""
DEVIATIONS = 5
"""How unlucky a draw of few values may be: the logarithm of the ratio of two norms, each of n independent errors, has
about the deviation 1 / sqrt(n); five of them happen once in three million values."""


class TappedStage(NamedTuple):
    """What opens a stage that is measured inside."""

    tapped: Opener
    """Opens the copy with taps."""
    plain: Opener
    """Opens what the copy is one of."""


def tapped_values(taps: Sequence[Tap], counterparts: Mapping[str, Counterpart]) -> tuple[TappedValue, ...]:
    """Return what a result says of taps, and of their counterparts by the taps' names."""
    return tuple(
        TappedValue(tap.name, tap.module, tap.step, tap.sources, tap.is_output, counterparts.get(tap.name))
        for tap in taps
    )


def measure_layers(
    stages: Mapping[Stage, TappedStage],
    simulations: Mapping[Format, Opener],
    taps: Sequence[Tap],
    inputs: Arrays,
    progress: Callable[[str], None] = lambda _message: None,
) -> tuple[StageLayers, ...]:
    """Run every stage on the same inputs, and compare the values inside.

    Args:
        stages: In the order of the conversion; the first is the reference.
        simulations: Open tapped models that compute in each format; that of `float32` computes in float64. Each is
            compared with the stage `rewritten`.
        taps: What is compared; a stage may lack some.
        inputs: float32 (N, ...) by name.
        progress: Is told what goes on.

    Raises:
        ToolError: An artifact cannot be opened or run.
    """
    count = len(next(iter(inputs.values())))
    singles = [{name: array[number : number + 1] for name, array in inputs.items()} for number in range(count)]
    sources: dict[Stage, Stage] = {
        stage: stage.predecessor_among(stages) for stage in stages if stage is not Stage.REFERENCE
    }
    observed = _observe(stages, singles, progress)
    runtimes = {name: stage.tapped() for name, stage in stages.items()}
    models = {name: opener() for name, opener in simulations.items()}
    names = [tap.name for tap in taps]
    sums = _Sums(names)
    outputs: dict[Stage, list[Arrays]] = {stage: [] for stage in stages}
    for number, one in enumerate(singles):
        progress(f"layers of input {number + 1} of {count}")
        values = {name: runtime.run(one) for name, runtime in runtimes.items()}
        for stage, result in values.items():
            outputs[stage].append({name: result[name] for name in observed[stage][number]})
            if stage in sources:
                sums.add((stage, "step"), values[sources[stage]], result)
                if sources[stage] is not Stage.REFERENCE:
                    sums.add((stage, "total"), values[Stage.REFERENCE], result)
        for kind, model in models.items():
            sums.add((kind, "expected"), values[Stage.REWRITTEN], model.run(one))
    return tuple(
        StageLayers(
            stage,
            sources.get(stage, Stage.REFERENCE),
            _compare_outputs(observed[stage], outputs[stage]),
            tuple(_rows(stage, sources[stage], taps, sums)) if stage in sources else (),
        )
        for stage in stages
    )


def _observe(
    stages: Mapping[Stage, TappedStage], singles: Sequence[Arrays], progress: Callable[[str], None]
) -> dict[Stage, list[Arrays]]:
    """Return the final outputs of each stage itself for each input; one stage is open at a time."""
    outputs = {}
    for name, stage in stages.items():
        progress(f"running {name}")
        runtime = stage.plain()
        outputs[name] = [runtime.run(one) for one in singles]
    return outputs


def _compare_outputs(plain: Sequence[Arrays], copies: Sequence[Arrays]) -> Observer:
    """Compare the artifact's outputs with its tapped copy's."""
    pairs = [[np.concatenate([row[name] for row in rows]) for rows in (plain, copies)] for name in plain[0]]
    compared = [compare(array, other) for array, other in pairs]
    return Observer(
        identical=all(np.array_equal(array, other, equal_nan=True) for array, other in pairs),
        max_abs=max(one.max_abs for one in compared),
        relative_l2=max(one.relative_l2 for one in compared),
    )


class _Sums:
    """The sums of each tap for each comparison."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.by_kind: dict[tuple[str, str], dict[str, ErrorSum]] = {}

    def add(self, kind: tuple[str, str], signal: Arrays, candidate: Arrays) -> None:
        sums = self.by_kind.setdefault(kind, {})
        for name in self.names:
            if name in signal and name in candidate and signal[name].shape == candidate[name].shape:
                sums.setdefault(name, ErrorSum()).add(signal[name], candidate[name])

    def error(self, kind: tuple[str, str], name: str) -> TensorError | None:
        found = self.by_kind.get(kind, {}).get(name)
        return found.result() if found else None


def _rows(stage: Stage, against: Stage, taps: Sequence[Tap], sums: _Sums) -> list[LayerRow]:
    total_kind = "step" if against is Stage.REFERENCE else "total"
    rows: dict[str, LayerRow] = {}
    floats: dict[str, float] = {}
    for tap in taps:
        step, total, rounding, own = (
            sums.error(kind, tap.name)
            for kind in ((stage, "step"), (stage, total_kind), ("float32", "expected"), (format_of(stage), "expected"))
        )
        before = [rows[source] for source in tap.sources if source in rows]
        float32 = max(rounding.relative_l2 if rounding else 0.0, LEAST)
        luck = math.exp(DEVIATIONS / math.sqrt(max(1, rounding.values if rounding else 1)))
        floats[tap.name] = max(luck * _float_limit(tap, float32), *(floats[row.tap] for row in before), 0.0)
        expected = max(own.relative_l2, float32) if own else float32
        limit = max(floats[tap.name], luck * FORMAT_SHARE * expected if own else 0.0)
        carried = max((row.step.relative_l2 for row in before if row.step), default=0.0)
        rows[tap.name] = LayerRow(tap.name, tap.module, step, total, expected, limit, _added(step, carried))
    return list(rows.values())


def _float_limit(tap: Tap, rounding: float) -> float:
    """Return how far two float32 evaluations of a value may be apart.

    `rounding` is one evaluation's distance from float64, by kernels of PyTorch, which add in short chains. A kernel
    that adds n numbers one after another makes errors that grow as a random walk does, sqrt(n) roundings (N. J.
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 2.8).
    """
    return FLOAT32_TOLERANCE * max(rounding, math.sqrt(tap.terms) * LEAST)


def _added(step: TensorError | None, before: float) -> float:
    if step is None or step.relative_l2 <= before:
        return 0.0
    return math.sqrt(step.relative_l2**2 - before**2) if math.isfinite(step.relative_l2) else math.inf
