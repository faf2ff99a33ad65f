"""The drift ledger: which stage lost how much, against the stage before it (blame) and the reference (total)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime, is_label
from mobilekit.errors import UsageError
from mobilekit.parity.ledger import invariants
from mobilekit.parity.ledger.accuracy import doubt_of
from mobilekit.parity.ledger.blame import with_blame
from mobilekit.parity.ledger.device_limits import AT_FAULT, device_bounds, float16_arithmetic_bounds
from mobilekit.parity.ledger.float16_arithmetic import with_arithmetic
from mobilekit.parity.ledger.limits import bounds_for, judge
from mobilekit.parity.ledger.metrics import Floats, compare
from mobilekit.parity.ledger.result import Bound, FormatError, Ledger, MeasuredOn, Metrics, Row, verdict_of
from mobilekit.parity.ledger.simulation import Simulation, simulate
from mobilekit.parity.ledger.task import k_for
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.preprocess import digest_of
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.float32 import ULP
from mobilekit.rewrites.report import StepReport
from mobilekit.store.stages import InputSet, Stage

Opener = Callable[[], Runtime]


def measure(
    reference: nn.Module,
    rewritten: GraphModule,
    files: Mapping[Stage, Opener],
    recipe: Recipe,
    evaluation: Evaluation,
    random: Arrays,
    steps: Iterable[StepReport] = (),
    progress: Callable[[str], None] = lambda _stage: None,
    simulation: Simulation | None = None,
    is_trained: bool = True,
) -> Ledger:
    """Run every stage on the same inputs and compare.

    Args:
        reference: The reference model, float32.
        rewritten: The rewritten one, float32.
        files: What opens each stage that is a file, in the order of the conversion.
        recipe: Its limits and rewrites count.
        evaluation: Real inputs. Float stages are held to their limits on these and on `random`; quantized ones, and
            those in float16 arithmetic, on these alone: random values lie outside the ranges of the calibration, and
            may lie outside of float16's.
        random: Random inputs, float32 (N, ...) by name.
        steps: What the rewrites did.
        progress: Is told each stage.
        simulation: What `simulate` gave for these models and inputs; it is made without.
        is_trained: Whether the model has weights that mean something.

    Raises:
        ToolError: An artifact cannot be opened or run.
        UsageError: Labels do not fit the model, or the recipe loosens a limit without a reason.
    """
    if simulation is None:
        check_evaluation(evaluation, reference)
    simulated = simulation or simulate(reference, rewritten, recipe, evaluation, random, progress=progress)
    outputs, exact, errors = dict(simulated.outputs), simulated.exact, simulated.errors
    for stage, opener in files.items():
        progress(stage)
        runtime = opener()
        outputs[stage] = {InputSet.REAL: runtime.run(evaluation.inputs), InputSet.RANDOM: runtime.run(random)}
    if any(stage.is_in_float16 for stage in files):
        errors = with_arithmetic(errors, rewritten, simulated.outputs[Stage.REWRITTEN], evaluation.inputs, random)
    is_other = any(step.is_other_function for step in steps)
    drift = None if is_other else sum(step.max_drift or 0.0 for step in steps)
    measurement = _Measured(recipe, evaluation, outputs, exact, errors, drift, is_trained)
    rows = [
        measurement.row(stage, against, name)
        for stage in outputs
        if stage is not Stage.REFERENCE
        for against in dict.fromkeys((Stage.REFERENCE, stage.predecessor_among(outputs)))
        for name in outputs[Stage.REFERENCE][InputSet.REAL]
    ]
    first = next(iter(outputs[Stage.REFERENCE][InputSet.REAL].values()))
    top1 = compare(first, first, evaluation.labels).top1
    digest = digest_of(evaluation.inputs)
    return Ledger(
        MeasuredOn(evaluation.name, evaluation.count, evaluation.is_own, evaluation.label_names),
        errors[InputSet.REAL],
        tuple(with_blame(rows)),
        tuple(steps),
        reference_top1=top1,
        inputs_sha256=digest,
        notes=evaluation.notes,
        doubt=_doubt(evaluation, first, top1) if is_trained else "",
    )


def _doubt(evaluation: Evaluation, outputs: Floats, top1: float | None) -> str:
    """Return why a trained reference is doubted, where its outputs are those of a classifier."""
    if is_label(outputs) or outputs.ndim != 2:
        return ""
    return doubt_of(top1, evaluation.count, outputs.shape[1], evaluation.label_names)


def check_evaluation(evaluation: Evaluation, reference: nn.Module, names: Sequence[str] = ()) -> None:
    """Run a reference on one input, and check that the labels number its classes: before the work that needs them.

    Args:
        evaluation: The inputs.
        reference: The model.
        names: Of its classes, in the order of its outputs, where they are known.

    Raises:
        UsageError: They do not.
    """
    one = {name: array[:1] for name, array in evaluation.inputs.items()}
    outputs = next(iter(TorchRuntime(reference).run(one).values()))
    is_map = outputs.ndim == 4  # (N, classes, H, W)
    if names and not is_label(outputs) and len(names) not in {outputs[0].size, *(outputs.shape[1:2] if is_map else ())}:
        count = f"{outputs.shape[1]} maps" if is_map else f"{outputs[0].size} outputs"
        raise UsageError(
            f"There are {len(names)} labels ({names[0]} to {names[-1]}), and the model has {count}.",
            "--labels, or `labels` of the recipe, names each output of the model, in their order.",
        )
    check_labels(evaluation, outputs)


def check_labels(evaluation: Evaluation, outputs: Floats) -> None:
    """Check that the labels number the classes of a model with these outputs.

    Raises:
        UsageError: They do not.
    """
    if is_label(outputs):
        return
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


@dataclass(frozen=True)
class _Measured:
    """All that rows are made of."""

    recipe: Recipe
    evaluation: Evaluation
    outputs: Mapping[Stage, Mapping[InputSet, Arrays]]
    exact: Mapping[InputSet, Arrays]
    """What the reference gives in float64."""
    errors: Mapping[InputSet, Mapping[str, FormatError]]
    drift: float | None
    is_trained: bool

    def row(self, stage: Stage, against: Stage, name: str) -> Row:
        """Compare one output of a stage with that of another."""
        before, after = ({kind: self.outputs[one][kind][name] for kind in InputSet} for one in (against, stage))
        metrics = {kind: self._metrics(stage, against, name, before[kind], after[kind], kind) for kind in InputSet}
        real, random = InputSet.REAL, InputSet.RANDOM
        limits = {
            kind: judge(self._bounds(stage, against, name, kind), metrics[kind])
            for kind in ((real,) if stage.is_quantized or stage.is_in_float16 else (real, random))
        }
        findings = invariants.check(
            stage,
            before[real],
            after[real],
            _allowed(limits[real], before[real]),
            self._probabilities(name),
            self.recipe.calibration.count,
        )
        findings = findings or invariants.not_finite_on_random(after[random])
        verdict = verdict_of(limit for judged in limits.values() for limit in judged)
        return Row(
            **vars(metrics[real]),
            stage=stage,
            against=against,
            output=name,
            verdict="fail" if findings else verdict,
            limits=limits[real],
            findings=findings,
            random=metrics[random],
            random_limits=limits.get(random, ()),
        )

    def _metrics(
        self, stage: Stage, against: Stage, name: str, before: Floats, after: Floats, kind: InputSet
    ) -> Metrics:
        k = k_for(before.shape[1], self.recipe.top_k) if before.ndim == 2 else None
        metrics = compare(before, after, self.evaluation.labels if kind is InputSet.REAL else None, k)
        if is_label(before):
            return metrics
        if against is Stage.REFERENCE and stage.precision == "float32" and self.drift == 0:
            metrics = replace(metrics, max_error_eps=_in_eps(self.exact[kind][name], after))
        return metrics

    def _bounds(self, stage: Stage, against: Stage, name: str, kind: InputSet) -> tuple[Bound, ...]:
        is_total, error, file = against is Stage.REFERENCE, self.errors[kind][name], stage.on_host
        if stage.is_in_float16:
            return float16_arithmetic_bounds(error, self.drift if is_total else 0.0)
        if stage.is_on_device and not is_total:
            return device_bounds(stage, error)
        override = self.recipe.limits.get(file)
        bounds = bounds_for(
            file,
            error,
            self.drift if is_total else 0.0,
            override,
            self.is_trained,
            # A recipe's limits are for its own data; on others a derived limit may well be the stricter one.
            asks_why=is_total and kind is InputSet.REAL and not self.evaluation.is_own,
        )
        return tuple(replace(bound, advice=AT_FAULT) for bound in bounds) if stage.is_on_device else bounds

    def _probabilities(self, name: str) -> invariants.Probabilities | None:
        """Return what kind of probabilities the model's outputs are, on all inputs."""
        outputs = [self.outputs[Stage.REWRITTEN][kind][name] for kind in InputSet]
        if is_label(outputs[0]):
            return None
        real, random = map(invariants.probabilities_of, outputs)
        return real if real == random else None


def _allowed(bounds: Iterable[Bound], reference: Floats) -> float | None:
    """Return the root mean square error that limits allow; None if they do not limit it."""
    rms = float(np.sqrt(np.mean(reference.astype(np.float64) ** 2)))
    scales = {"relative_l2": rms, "max_abs": 1.0}
    return min((bound.limit * scales[bound.metric] for bound in bounds if bound.metric in scales), default=None)


def _in_eps(exact: Floats, outputs: Floats) -> float:
    """Return the largest distance from the float64 run in units of 2^-24 of its largest output."""
    scale = float(np.abs(exact).max())
    distance = float(np.abs(outputs.astype(np.float64) - exact).max())
    if not scale:
        return np.inf if distance else 0.0
    return distance / (ULP * scale)
