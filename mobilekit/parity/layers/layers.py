"""Every value inside a model, stage by stage: where an error comes in, and where it grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from mobilekit.artifacts.runtime import Arrays
from mobilekit.parity.layers.counterparts import Counterpart
from mobilekit.parity.layers.taps import Tap
from mobilekit.parity.layers.tensor_error import ErrorSum, TensorError
from mobilekit.parity.ledger.format_error import FLOAT32_DRAWS, FORMAT_SHARE
from mobilekit.parity.ledger.ledger import Opener
from mobilekit.parity.ledger.metrics import compare, plain_figures
from mobilekit.store.stages import Precision, Stage

LEAST = 2.0**-24
"""The rounding of one float32 operation: the least that is expected anywhere."""
DEVIATIONS = 5
"""How unlucky a draw of few values may be: the logarithm of the ratio of two norms, each of n independent errors, has
about the deviation 1 / sqrt(n); five of them happen once in three million values."""
MOST = 5
"""How many of the layers that add most are named."""


class TappedStage(NamedTuple):
    """What opens a stage that is measured inside."""

    tapped: Opener
    """Opens the copy with taps."""
    plain: Opener
    """Opens what the copy is one of."""


@dataclass(frozen=True)
class LayerRow:
    """A value at one stage."""

    tap: str
    module: str
    step: TensorError | None
    """Against the stage before; None where its shapes say that it is another value there."""
    total: TensorError | None
    """Against the reference; None where that has no such value."""
    expected: float
    """Relative L2 that the stage's number format brings by itself, measured on an imitation."""
    limit: float
    """Relative L2 that this can explain."""
    added: float
    """Relative L2 that comes in here: sqrt(step^2 - the largest among the values that it is computed from^2)."""

    @property
    def jumps(self) -> bool:
        """Whether `step` is more than the format explains."""
        return self.step is not None and not self.step.relative_l2 <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON data."""
        figures = {"expected": self.expected, "limit": self.limit, "added": self.added}
        return {
            "tap": self.tap,
            "module": self.module,
            "step": self.step.to_json() if self.step else None,
            "total": self.total.to_json() if self.total else None,
            **plain_figures({f"{name}_relative_l2": value for name, value in figures.items()}),
            "jumps": self.jumps,
        }


@dataclass(frozen=True)
class Observer:
    """How far the final outputs of the tapped copy are from those of the artifact itself."""

    identical: bool
    max_abs: float
    relative_l2: float


@dataclass(frozen=True)
class StageLayers:
    """All values at one stage, in the order in which they are computed."""

    stage: Stage
    against: Stage
    observer: Observer
    rows: tuple[LayerRow, ...]

    @property
    def first_jump(self) -> LayerRow | None:
        """The first value whose error is more than the format explains."""
        return next((row for row in self.rows if row.jumps), None)

    @property
    def adds_most(self) -> list[LayerRow]:
        """The values at which most error comes in, the largest first."""
        return sorted((row for row in self.rows if row.added > 0), key=lambda row: -row.added)[:MOST]

    def to_json(self) -> dict[str, Any]:
        """Return the stage as JSON data."""
        jump = self.first_jump
        return {
            "stage": self.stage,
            "against": self.against,
            "observer": plain_figures(asdict(self.observer)),
            "first_jump": jump.module if jump else None,
            "adds_most": [row.module for row in self.adds_most],
            "layers": [row.to_json() for row in self.rows],
        }


@dataclass(frozen=True)
class Layers:
    """The values inside a model at every stage."""

    inputs: str
    count: int
    taps: tuple[Tap, ...]
    counterparts: Mapping[str, Counterpart]
    stages: tuple[StageLayers, ...]
    notes: tuple[str, ...] = ()
    """What could not be measured, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "inputs": {"real": self.inputs, "count": self.count},
            "notes": list(self.notes),
            "taps": [
                {
                    "tap": tap.name,
                    "module": tap.module,
                    "step": tap.step,
                    "computed_from": list(tap.sources),
                    "is_output": tap.is_output,
                    "reference": asdict(self.counterparts[tap.name]) if tap.name in self.counterparts else None,
                }
                for tap in self.taps
            ],
            "stages": [stage.to_json() for stage in self.stages],
        }


def measure_layers(
    stages: Mapping[Stage, TappedStage],
    imitations: Mapping[Precision, Opener],
    taps: Sequence[Tap],
    inputs: Arrays,
    progress: Callable[[str], None] = lambda _message: None,
) -> tuple[StageLayers, ...]:
    """Run every stage on the same inputs, and compare the values inside.

    Args:
        stages: In the order of the conversion; the first is the reference.
        imitations: Open tapped models that compute in each format; that of `float32` computes in float64. Each is
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
    models = {name: opener() for name, opener in imitations.items()}
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
        for precision, model in models.items():
            sums.add((precision, "expected"), values[Stage.REWRITTEN], model.run(one))
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
            for kind in ((stage, "step"), (stage, total_kind), ("float32", "expected"), (stage.precision, "expected"))
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
    return FLOAT32_DRAWS * max(rounding, math.sqrt(tap.terms) * LEAST)


def _added(step: TensorError | None, before: float) -> float:
    if step is None or step.relative_l2 <= before:
        return 0.0
    return math.sqrt(step.relative_l2**2 - before**2) if math.isfinite(step.relative_l2) else math.inf
