"""The drift ledger: which stage lost how much, against the stage before it (blame) and the reference (total)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import UsageError
from mobilekit.parity.ledger import invariants
from mobilekit.parity.ledger.device_limits import device_bounds, is_device, source_of
from mobilekit.parity.ledger.format_error import Noise, Ranges, measure_noise, run_exactly
from mobilekit.parity.ledger.gates import GateResult
from mobilekit.parity.ledger.invariants import Finding
from mobilekit.parity.ledger.limits import Bound, bounds_for, measured
from mobilekit.parity.ledger.metrics import Floats, Metrics, compare, plain_figures
from mobilekit.parity.ledger.task import k_for
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.preprocess import digest_of
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import StepReport
from mobilekit.rewrites.float32 import ULP

REFERENCE = "reference"
# Each stage and the one that it was made from: the quantised files all come from the same float graph.
MADE_FROM = {
    "rewritten": REFERENCE,
    "onnx": "rewritten",
    "onnx-simplified": "onnx",
    "tflite-float32": "onnx-simplified",
    "tflite-float16": "tflite-float32",
    "tflite-dynamic": "tflite-float32",
    "tflite-int8": "tflite-float32",
}
FLOAT32 = ("rewritten", "onnx", "onnx-simplified", "tflite-float32")
KINDS = (0, 1)  # of inputs: real and random
QUANTISED = ("tflite-dynamic", "tflite-int8", "device-dynamic", "device-int8")

Opener = Callable[[], Runtime]


@dataclass(frozen=True)
class Row:
    """One comparison: a stage against the one it was made from, or against the reference."""

    stage: str
    against: str
    metrics: Metrics
    random: Metrics
    """The same on standard normal inputs."""
    output: str
    """Which of the model's outputs."""
    bounds: tuple[Bound, ...]
    verdict: str
    findings: tuple[Finding, ...] = ()
    """Invariants that the stage's outputs break."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON data, the metrics on real inputs at its top."""
        return {
            "stage": self.stage,
            "against": self.against,
            "output": self.output,
            **self.metrics.to_json(),
            "verdict": self.verdict,
            "limits": [plain_figures(asdict(bound)) for bound in self.bounds],
            "findings": [finding.to_json() for finding in self.findings],
            "random": self.random.to_json(),
        }


@dataclass(frozen=True)
class Ledger:
    """All comparisons of one export, and what they were made on."""

    evaluation: str
    count: int
    noise: Mapping[str, Noise]
    """What the formats do to each output, on the real inputs."""
    rows: tuple[Row, ...]
    steps: tuple[StepReport, ...] = ()
    reference_top1: float | None = None
    """The reference's own top-1, where the inputs have labels."""
    gates: tuple[GateResult, ...] = ()
    inputs_sha256: str = ""
    """SHA-256 of the real inputs' bytes."""
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Ops and size of each file that was measured, by its name."""

    @property
    def verdict(self) -> str:
        """`pass` if every row and every gate passes, else `fail`."""
        verdicts = [row.verdict for row in self.rows] + [gate.verdict for gate in self.gates]
        return "pass" if all(verdict == "pass" for verdict in verdicts) else "fail"

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as JSON data."""
        return {
            "verdict": self.verdict,
            "inputs": {"real": self.evaluation, "count": self.count},
            "inputs_sha256": self.inputs_sha256,
            "noise": {name: plain_figures(asdict(noise)) for name, noise in self.noise.items()},
            "reference_top1": self.reference_top1,
            "rewrites": [step.to_json() for step in self.steps],
            "stages": [row.to_json() for row in self.rows],
            "gates": [gate.to_json() for gate in self.gates],
            "artifacts": {name: dict(artifact) for name, artifact in self.artifacts.items()},
        }


def measure(
    stages: Mapping[str, Opener],
    recipe: Recipe,
    evaluation: Evaluation,
    random: Arrays,
    steps: Iterable[StepReport] = (),
    progress: Callable[[str], None] = lambda _stage: None,
    ranges: Ranges | None = None,
    is_trained: bool = True,
) -> Ledger:
    """Run every stage on the same inputs and compare.

    Args:
        stages: What opens each stage, in the order of the conversion; `reference` and `rewritten` are PyTorch.
        recipe: Its limits and rewrites count.
        evaluation: Real inputs. Float stages are held to their limits on these and on `random`; quantised ones on
            these alone, as noise lies outside the ranges that they were calibrated for.
        random: Random inputs, float32 (N, ...) by name.
        steps: What the rewrites did.
        progress: Is told each stage.
        ranges: Of the rewritten model's steps on the calibration inputs, where they are known.
        is_trained: Whether the model has weights that mean something.

    Raises:
        ToolError: An artifact cannot be opened or run.
        UsageError: Labels do not fit the model, or the recipe loosens a limit without a reason.
    """
    outputs: dict[str, tuple[Arrays, Arrays]] = {}
    models: dict[str, TorchRuntime] = {}
    for stage, opener in stages.items():
        progress(stage)
        runtime = opener()
        if isinstance(runtime, TorchRuntime):
            models[stage] = runtime
        outputs[stage] = (runtime.run(evaluation.inputs), runtime.run(random))
        if stage == REFERENCE:
            check_labels(evaluation, next(iter(outputs[stage][0].values())))
    progress("noise of the formats")
    reference, rewritten = models[REFERENCE].model, models["rewritten"].model
    assert isinstance(rewritten, GraphModule)
    exact = (run_exactly(reference, evaluation.inputs), run_exactly(reference, random))
    noises = tuple(
        measure_noise(
            reference,
            rewritten,
            inputs,
            outputs[REFERENCE][kind],
            outputs["rewritten"][kind],
            recipe.int8,
            ranges,
            exact=exact[kind],
            labels=None if kind else evaluation.labels,
            top_k=recipe.top_k,
        )
        for kind, inputs in enumerate((evaluation.inputs, random))
    )
    is_other = any(step.is_other_function for step in steps)
    drift = None if is_other else sum(step.max_drift or 0.0 for step in steps)
    measurement = _Measured(recipe, evaluation, outputs, exact, noises, drift, is_trained)
    rows = [
        measurement.row(stage, against, name)
        for stage in stages
        for against in (dict.fromkeys((REFERENCE, made_from(stage, stages))) if stage != REFERENCE else ())
        for name in outputs[REFERENCE][0]
    ]
    truth = next(iter(outputs[REFERENCE][0].values()))
    top1 = compare(truth, truth, evaluation.labels).top1
    digest = digest_of(evaluation.inputs)
    return Ledger(
        evaluation.name,
        evaluation.count,
        noises[0],
        tuple(rows),
        tuple(steps),
        reference_top1=top1,
        inputs_sha256=digest,
    )


def check_labels(evaluation: Evaluation, outputs: Floats) -> None:
    """Check that the labels number the classes of a model with these outputs.

    Raises:
        UsageError: They do not.
    """
    classes = outputs[0].size
    if evaluation.labels is not None and not 0 <= evaluation.labels.min() <= evaluation.labels.max() < classes:
        raise UsageError(
            f"{evaluation.name} has labels from {evaluation.labels.min()} to {evaluation.labels.max()}, and the model "
            f"has the classes 0 to {classes - 1}.",
            "Number the classes as the model's outputs are.",
        )
    if evaluation.classes is not None and evaluation.classes != classes:
        raise UsageError(
            f"{evaluation.name} has folders of {evaluation.classes} classes, and the model has {classes}.",
            "Which output is which class's? Write the names of all classes into classes.txt there, in the order of the "
            "model's outputs, a line each.",
        )


def made_from(stage: str, stages: Iterable[str]) -> str:
    """Return what the stage was made from; where that is not among `stages`, what that was made from, and so on."""
    source = source_of(stage) if is_device(stage) else MADE_FROM[stage]
    return source if source in stages else made_from(source, stages)


@dataclass(frozen=True)
class _Measured:
    """All that rows are made of; pairs are of the real and of the random inputs."""

    recipe: Recipe
    evaluation: Evaluation
    outputs: Mapping[str, tuple[Arrays, Arrays]]
    exact: tuple[Arrays, Arrays]
    """What the reference gives in float64."""
    noises: Sequence[Mapping[str, Noise]]
    drift: float | None
    is_trained: bool

    def row(self, stage: str, against: str, name: str) -> Row:
        """Compare one output of a stage with that of another."""
        before, after = ([self.outputs[one][kind][name] for kind in KINDS] for one in (against, stage))
        figures = [self._figures(stage, against, name, before[kind], after[kind], kind) for kind in KINDS]
        bounds = [self._bounds(stage, against, name, kind) for kind in KINDS]
        held = [measured(bounds[kind], figures[kind]) for kind in KINDS]
        allowed, kind = _allowed(held[0], before[0]), self._probabilities(name)
        findings = invariants.check(source_of(stage), before[0], after[0], allowed, kind, self.recipe.calibration.count)
        findings = findings or invariants.not_finite_on_random(after[1])
        passed = not findings and all(bound.holds(figures[0]) for bound in held[0])
        if stage not in QUANTISED:
            passed = passed and all(bound.holds(figures[1]) for bound in held[1])
        real, random = figures
        return Row(stage, against, real, random, name, held[0], "pass" if passed else "fail", findings)

    def _figures(self, stage: str, against: str, name: str, before: Floats, after: Floats, kind: int) -> Metrics:
        k = k_for(before.shape[1], self.recipe.top_k) if before.ndim == 2 else None
        figures = compare(before, after, None if kind else self.evaluation.labels, k)
        if against == REFERENCE and source_of(stage) in FLOAT32 and self.drift == 0:
            exact = self.exact[kind][name]
            figures = replace(figures, float64_ulps=_ulps(exact, after))
        return figures

    def _bounds(self, stage: str, against: str, name: str, kind: int) -> tuple[Bound, ...]:
        is_total, noise, source = against == REFERENCE, self.noises[kind][name], source_of(stage)
        if is_device(stage) and not is_total:
            return device_bounds(stage, noise)
        override = self.recipe.limits.get(source)  # type: ignore[call-overload]
        return bounds_for(
            source,
            noise,
            self.drift if is_total else 0.0,
            override,
            self.is_trained,
            # A recipe's limits are for its own data; on others a derived limit may well be the stricter one.
            asks_why=is_total and kind == 0 and not self.evaluation.is_own,
        )

    def _probabilities(self, name: str) -> invariants.Probabilities | None:
        """Return what kind of probabilities the model's outputs are, on all inputs."""
        real, random = (invariants.probabilities_of(self.outputs["rewritten"][kind][name]) for kind in KINDS)
        return real if real == random else None


def _allowed(bounds: Iterable[Bound], reference: Floats) -> float | None:
    """Return the root mean square error that limits allow; None if they do not limit it."""
    rms = float(np.sqrt(np.mean(reference.astype(np.float64) ** 2)))
    scales = {"relative_l2": rms, "max_abs": 1.0}
    return min((bound.limit * scales[bound.metric] for bound in bounds if bound.metric in scales), default=None)


def _ulps(exact: Floats, outputs: Floats) -> float:
    """Return the largest distance from the float64 run in units of 2^-24 of its largest output."""
    scale = float(np.abs(exact).max())
    distance = float(np.abs(outputs.astype(np.float64) - exact).max())
    if not scale:
        return np.inf if distance else 0.0
    return distance / (ULP * scale)
