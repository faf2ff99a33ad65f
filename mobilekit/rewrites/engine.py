"""Applies a recipe's rewrites in order, and proves or measures each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.errors import GateError, UsageError
from mobilekit.models.batches import run_in_batches
from mobilekit.models.depthwise import FastDepthwise
from mobilekit.models.inputs import Tensors, zeros
from mobilekit.models.shapes import describe_shapes
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.rewrites import float32
from mobilekit.rewrites import proof as proofs
from mobilekit.rewrites.base import Exactness, Rewrite, Site
from mobilekit.rewrites.catalogue import Step, steps_of
from mobilekit.rewrites.contract import apply_at, matches
from mobilekit.rewrites.drift import Drift, at_once, drift_between
from mobilekit.rewrites.fx.graph import note_shapes, trace
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.rewrites.fx.state import StateChange, state_change
from mobilekit.rewrites.order import Order, Paths
from mobilekit.rewrites.proof import Case
from mobilekit.rewrites.report import EXACT_RELATIVE_ERROR, Refusal, StepReport
from mobilekit.store.bundle import INPUT

Progress = Callable[[str], None]
Watch = Callable[[Step | None, GraphModule], None]


@dataclass(frozen=True)
class Rewritten:
    """The rewritten model in float32, and what each step did."""

    graph: GraphModule
    reference: GraphModule
    """The model before the first step, in float64."""
    steps: tuple[StepReport, ...] = ()
    exact: GraphModule | None = None
    """The same in float64, its weights not yet rounded; where it was asked for."""
    state_changes: tuple[StateChange, ...] = ()
    """What steps did to the keys of the model's state."""


def rewrite(
    model: nn.Module,
    loaded: LoadedRecipe,
    calibration: Tensors | None = None,
    prove: bool = True,
    progress: Progress = lambda _message: None,
    enforce_limits: bool = True,
    watch: Watch = lambda _step, _graph: None,
    keep_exact: bool = False,
) -> Rewritten:
    """Apply the recipe's rewrites to a model.

    All work is in float64 and rounded to float32 once at the end, so a folded weight is rounded as often as an
    unfolded one.

    Args:
        model: The reference model, float32; left as it is.
        loaded: The recipe.
        calibration: float32 inputs (N, ...) by name for fits and drifts; needed where a step is approximate.
        prove: Run proofs and measure drifts. Without, the graph is made again as it was made before.
        progress: Is told what goes on.
        enforce_limits: Stop at an approximate rewrite that drifts further than the recipe allows.
        watch: Is shown the graph, in float64, before the first step, with None, and after each, with the step.
        keep_exact: Return a copy in float64 as well.

    Raises:
        GateError: A rewrite broke the graph, an exact one changed the function, or an approximate one drifted further
            than allowed.
        ToolError: The code of a rewrite failed.
        UsageError: The recipe or the model cannot be used.
    """
    recipe = loaded.recipe
    graph = compute_in(trace(model, zeros(recipe.shapes)), torch.float64)
    keys = model.state_dict().keys() - graph.meta["unused"].keys()
    changes = [state_change("graph", keys, graph)]
    steps = steps_of(loaded)
    exact = {name: tensor.double() for name, tensor in calibration.items()} if calibration is not None else None
    note_shapes(graph, zeros(recipe.shapes, torch.float64))
    reference = copy.deepcopy(graph)
    run = _Run(model, loaded, steps, exact, prove, enforce_limits, reference)
    order = Order([step.name for step in steps], [_look(step) for step in steps])
    if prove:
        progress("running the reference in float64")
        run.start(graph)
        order.look(graph)
    watch(None, graph)
    reports = []
    for step in steps:
        progress(f"rewrite {step.name}")
        keys = graph.state_dict().keys()
        reports.append(run.apply(graph, step))
        changes.append(state_change(step.name, keys, graph))
        if prove:
            order.look(graph)
        watch(step, graph)
    if prove:
        reports = [replace(report, notes=(*report.notes, *order.notes(index))) for index, report in enumerate(reports)]
    kept = copy.deepcopy(graph) if keep_exact else None
    rewritten = compute_in(graph, torch.float32)
    return Rewritten(rewritten, reference, tuple(reports), kept, tuple(filter(None, changes)))


class _Run:
    """The outputs before the step at hand: each step is compared with the one before it."""

    def __init__(
        self,
        model: nn.Module,
        loaded: LoadedRecipe,
        steps: Sequence[Step],
        calibration: Tensors | None,
        prove: bool,
        enforce_limits: bool,
        reference: GraphModule,
    ) -> None:
        self.model = model
        self.reference = reference
        """The graph before the first step, on which a later step may have to be tried alone."""
        self.recipe = loaded.recipe
        self.steps = steps
        self.calibration = calibration
        self.examples = zeros(loaded.recipe.shapes, torch.float64)
        self.inputs = calibration
        """What is measured: all calibration inputs, or a few where every step is proved."""
        self.prove = prove
        self.enforce_limits = enforce_limits
        self.outputs: dict[Case, Any] = {}
        self.measured: dict[str, dict[str, torch.Tensor]] = {}
        """Outputs on the calibration inputs of the `reference`, and `now`."""
        self.rounding: dict[str, float] = {}

    def start(self, graph: GraphModule) -> None:
        """Run the reference.

        Raises:
            UsageError: It cannot take the recipe's input, or gives no numbers for it.
        """
        self.outputs = proofs.outputs_of(graph, proofs.cases_for(self.recipe))
        self.outputs = self.outputs or proofs.outputs_of(graph, (proofs.smallest_case(self.recipe),))
        if not self.outputs:
            raise UsageError(f"The model cannot take {describe_shapes(self.recipe.shapes)}.")
        self.outputs = {case: output for case, output in self.outputs.items() if proofs.is_finite(output)}
        if not self.outputs:
            raise _not_finite(graph)
        are_proved = [step.rewrite.exactness.is_proved for step in self.steps]
        if self.inputs is not None and self.steps:
            if all(are_proved):
                self.inputs = {name: tensor[: float32.COUNT] for name, tensor in self.inputs.items()}
            outputs = self._run(graph)
            self.measured = {"reference": outputs, "now": outputs}
            self.rounding = float32.rounding_of(graph, self.inputs, outputs)

    def _before(self, last: Step) -> GraphModule:
        """Return the graph before a step, made anew: a copy before each step takes longer than all steps."""
        graph = compute_in(trace(self.model, zeros(self.recipe.shapes)), torch.float64)
        note_shapes(graph, self.examples)
        for step in (earlier.fresh() for earlier in self.steps[: last.index]):
            allowed, _refused = _sort_sites(graph, step)
            if allowed:
                apply_at(graph, step.rewrite, allowed, self.calibration, self.examples)
        return graph

    def apply(self, graph: GraphModule, step: Step) -> StepReport:
        """Change the graph by one step, and prove or measure it."""
        allowed, refused = _sort_sites(graph, step)
        paths = tuple(site.path for site in allowed)
        report = StepReport(step.name, step.rewrite.exactness, paths, tuple(refused))
        if not allowed:
            return report if refused else replace(report, notes=("it matches nothing in this model",))
        if report.exactness is Exactness.APPROXIMATE:
            report = replace(report, max_drift=step.spec.max_drift, min_top1_agreement=step.spec.min_top1_agreement)
        apply_at(graph, step.rewrite, allowed, self.calibration, self.examples)
        report = _as_applied(report, step.rewrite, allowed)
        if not self.prove or not report.applied:
            return report
        if report.exactness.is_proved:
            return self._prove(report, graph, step, allowed)
        return self._measure_drift(report, graph, step)

    def _prove(self, report: StepReport, after: GraphModule, step: Step, sites: list[Site]) -> StepReport:
        """Compare the outputs in float64, and what float32 makes of them.

        Raises:
            GateError: The function is another one, or float32 loses too much.
        """
        outputs = proofs.outputs_of(after, tuple(self.outputs))
        proof = proofs.compare(self.outputs, outputs)
        if not proof.holds:
            culprit, again = self._find_culprit(self._before(step), step.rewrite, sites)
            raise GateError(
                f"The rewrite {step.name} says {report.exactness.value} and is not: {culprit}.",
                f"This is a fault of the rewrite. Leave it out of the recipe, and report it.{again}",
            )
        self.outputs = outputs
        if self.inputs is None:
            return replace(report, proof=proof)
        rounding = float32.rounding_of(after, self.inputs, self.measured["now"])
        rounded = float32.check(self.rounding, rounding, len(self.inputs[INPUT]))
        if not rounded.holds:
            raise GateError(
                f"The rewrite {step.name} is exact in real arithmetic and not in float32: its error on "
                f"{rounded.count} calibration inputs is {rounded.max_error_eps:.3g} x 2^-24 of the largest "
                f"{rounded.output}, and the limit is {rounded.limit:.3g}.",
                "Leave it out of the recipe.",
            )
        return replace(report, proof=proof, float32=rounded)

    def _find_culprit(self, before: GraphModule, action: Rewrite[Any], sites: list[Site]) -> tuple[str, str]:
        """Apply the sites one after another; name the first that changes an output, and how to make its input."""
        for site in sites:
            action.apply(before, site)
            before.recompile()
            outputs = proofs.outputs_of(before, tuple(self.outputs))
            for case, output in self.outputs.items():
                error = proofs.relative_error(output, outputs[case]) if case in outputs else float("inf")
                if error > EXACT_RELATIVE_ERROR:
                    shape = "x".join(map(str, case.shape))
                    return (
                        f"at {site.path} the relative error is {error:.1e} (normal input {shape}, seed {case.seed})",
                        f"\nThe input again: {case.call}.make()",
                    )
        return "only all sites together change the outputs", ""

    def _measure_drift(self, report: StepReport, graph: GraphModule, step: Step) -> StepReport:
        """Measure the drift on the calibration inputs, after the steps before and alone.

        Raises:
            GateError: An approximate rewrite drifts further than the recipe allows.
        """
        if self.inputs is None:
            raise GateError(f"The rewrite {step.name} is approximate and there are no inputs to measure its drift on.")
        reference, old = self.measured["reference"], self.measured["now"]
        new = self._run(graph)
        drift = drift_between(old, new)
        alone = drift if old is reference else self._drift_alone(step)
        report = replace(
            report,
            drift=drift.relative_l2,
            drift_so_far=drift_between(reference, new).relative_l2,
            top1_agreement=drift.top1_agreement,
            drift_alone=alone.relative_l2 if alone else None,
            top1_agreement_alone=alone.top1_agreement if alone else None,
        )
        if alone is None:
            report = replace(report, notes=("alone, on the model without the steps before it, it matches nothing",))
        if report.exactness is Exactness.APPROXIMATE and self.enforce_limits:
            _check_drift(step, "changes the outputs", drift)
            _check_drift(step, "alone changes the outputs", alone or drift)
        self.outputs = proofs.outputs_of(graph, tuple(self.outputs))
        self.measured["now"] = new
        self.rounding = float32.rounding_of(graph, self.inputs, new)
        return report

    def _drift_alone(self, step: Step) -> Drift | None:
        """Apply one step to the reference; None where it then changes nothing."""
        graph = copy.deepcopy(self.reference)
        fresh = step.fresh()
        allowed, _refused = _sort_sites(graph, fresh)
        if not allowed:
            return None
        apply_at(graph, fresh.rewrite, allowed, self.calibration)
        return drift_between(self.measured["reference"], self._run(graph))

    def _run(self, graph: GraphModule) -> dict[str, torch.Tensor]:
        assert self.inputs is not None
        with torch.no_grad(), FastDepthwise():
            return run_in_batches(graph, self.inputs, at_once(self.inputs))


def _check_drift(step: Step, change: str, drift: Drift) -> None:
    """Hold a drift to what the recipe allows.

    Raises:
        GateError: It is larger.
    """
    spec, hint = step.spec, "if the task can bear it, change the rewrite's options, or leave it out."
    if not drift.relative_l2 <= spec.max_drift:
        raise GateError(
            f"The rewrite {step.name} {change} by {drift.relative_l2:.3g} (relative L2 on the calibration "
            f"inputs); max_drift is {spec.max_drift:g} at {step.where}.",
            f"Raise max_drift {hint}",
        )
    least = spec.min_top1_agreement
    if least is not None and drift.top1_agreement < least:
        raise GateError(
            f"The rewrite {step.name} {change}: the largest is the same one for {drift.top1_agreement:.2%} of the "
            f"calibration inputs; min_top1_agreement is {least:g} at {step.where}.",
            f"Lower min_top1_agreement {hint}",
        )


def _as_applied(report: StepReport, action: Rewrite[Any], sites: list[Site]) -> StepReport:
    """Return the report of a step with what it did, and left alone by what it measured."""
    left = {site.path: reason for site in sites if (reason := action.left_alone(site))}
    changed = [site for site in sites if site.path not in left]
    return replace(
        report,
        applied=tuple(site.path for site in changed),
        refused=(*report.refused, *(Refusal(path, reason) for path, reason in left.items())),
        details=tuple(action.told(site) for site in changed),
    )


def _look(step: Step) -> Callable[[GraphModule], Paths]:
    return lambda graph: frozenset(site.path for site in _sort_sites(graph, step)[0])


def _sort_sites(graph: GraphModule, step: Step) -> tuple[list[Site], list[Refusal]]:
    """Return the sites at which a step may change a graph, and the others with the reasons."""
    action = step.rewrite
    allowed, refused = [], []
    for site, reason in matches(graph, action):
        if reason is None and step.wrong_on:
            reason = step.wrong_on
        if reason is None and action.exactness is Exactness.NEEDS_RETRAINING and not step.spec.allow:
            reason = "it needs retraining, and the recipe does not say `allow: true`"
        if reason is None:
            allowed.append(site)
        else:
            refused.append(Refusal(site.path, reason))
    return allowed, refused


def _not_finite(graph: GraphModule) -> UsageError:
    """Say that the model itself gives infinities or no numbers, and which of its tensors holds some."""
    holders = [name for name, tensor in graph.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    where = f" {holders[0]} holds some." if holders else ""
    return UsageError(
        f"The model's own outputs are infinite or not numbers (NaN), before any rewrite.{where}",
        "Run it in PyTorch on one input: its weights, or a division, root or logarithm in it, are at fault.",
    )
