"""Applies a recipe's rewrites in order, and proves or measures each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.errors import GateError, UsageError
from mobilekit.models.inputs import Tensors, describe_shapes, zeros
from mobilekit.models.outputs import run_in_batches
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites import float32
from mobilekit.rewrites import proof as proofs
from mobilekit.rewrites.base import Exactness, Rewrite, Site
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.contract import apply_at, matches
from mobilekit.rewrites.drift import Drift, at_once, drift_between
from mobilekit.rewrites.fx.graph import note_shapes, trace
from mobilekit.rewrites.order import Order, Paths
from mobilekit.rewrites.proof import Case
from mobilekit.rewrites.report import EXACT_RELATIVE_ERROR, Refusal, StepReport
from mobilekit.store.bundle import INPUT

Progress = Callable[[str], None]
Watch = Callable[[GraphModule], None]


@dataclass(frozen=True)
class Rewritten:
    """The rewritten model in float32, and what each step did."""

    graph: GraphModule
    steps: tuple[StepReport, ...] = field(default=())


def rewrite(
    model: nn.Module,
    loaded: LoadedRecipe,
    calibration: Tensors | None = None,
    prove: bool = True,
    progress: Progress = lambda _message: None,
    hold: bool = True,
    watch: Watch = lambda _graph: None,
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
        hold: Stop at an approximate rewrite that drifts further than the recipe allows.
        watch: Is shown the graph, in float64, before the first step and after each.

    Raises:
        GateError: A rewrite broke the graph, an exact one changed the function, or an approximate one drifted further
            than allowed.
        ToolError: The code of a rewrite failed.
        UsageError: The recipe or the model cannot be used.
    """
    recipe = loaded.recipe
    graph = trace(model, zeros(recipe.shapes)).double()
    steps = steps_of(loaded)
    exact = {name: tensor.double() for name, tensor in calibration.items()} if calibration is not None else None
    run = _Run(loaded, exact, prove, hold)
    order = Order([action.name for _, action in steps], [_look(step, action) for step, action in steps])
    run.note_shapes(graph)
    if prove:
        progress("running the reference in float64")
        run.start(graph, [action for _, action in steps])
        order.look(graph)
    watch(graph)
    reports = []
    for index, (step, action) in enumerate(steps):
        progress(f"rewrite {action.name}")
        reports.append(run.apply(graph, step, action, lambda index=index: run.replay(model, index)))  # type: ignore[misc]
        if prove:
            order.look(graph)
        watch(graph)
    if prove:
        reports = [replace(report, notes=(*report.notes, *order.notes(index))) for index, report in enumerate(reports)]
    return Rewritten(graph.float(), tuple(reports))


class _Run:
    """The outputs before the step at hand: each step is compared with the one before it."""

    def __init__(self, loaded: LoadedRecipe, calibration: Tensors | None, prove: bool, hold: bool) -> None:
        self.loaded = loaded
        self.calibration = calibration
        self.examples = zeros(loaded.recipe.shapes, torch.float64)
        self.inputs = calibration
        """What is measured: all calibration inputs, or a few where every step is proved."""
        self.prove = prove
        self.hold = hold
        self.outputs: dict[Case, Any] = {}
        self.reference: GraphModule | None = None
        """A copy of the graph before the first step, where a later step has to be tried on it alone."""
        self.measured: dict[str, dict[str, torch.Tensor]] = {}
        """Outputs on the calibration inputs of the `reference`, and `now`."""
        self.rounding: dict[str, float] = {}

    def note_shapes(self, graph: GraphModule) -> None:
        note_shapes(graph, self.examples)

    def start(self, graph: GraphModule, actions: Sequence[Rewrite[Any]]) -> None:
        """Run the reference.

        Raises:
            UsageError: It cannot take the recipe's input.
        """
        recipe = self.loaded.recipe
        self.outputs = proofs.outputs_of(graph, proofs.cases_for(recipe))
        self.outputs = self.outputs or proofs.outputs_of(graph, (proofs.smallest_case(recipe),))
        if not self.outputs:
            raise UsageError(f"The model cannot take {describe_shapes(recipe.shapes)}.")
        if any(not action.exactness.is_proved for action in actions[1:]):
            self.reference = copy.deepcopy(graph)
        if self.inputs is not None and actions:
            if all(action.exactness.is_proved for action in actions):
                self.inputs = {name: tensor[: float32.COUNT] for name, tensor in self.inputs.items()}
            outputs = self._measure(graph)
            self.measured = {"reference": outputs, "now": outputs}
            self.rounding = float32.rounding_of(graph, self.inputs, outputs)

    def replay(self, model: nn.Module, count: int) -> GraphModule:
        """Return the graph after the first `count` steps, made anew: a copy before each step takes longer than it."""
        graph = trace(model, zeros(self.loaded.recipe.shapes)).double()
        self.note_shapes(graph)
        for step, action in steps_of(self.loaded)[:count]:
            allowed, _refused = _sort_sites(graph, step, action)
            if allowed:
                apply_at(graph, action, allowed, self.calibration, self.examples)
        return graph

    def apply(
        self, graph: GraphModule, step: RewriteStep, action: Rewrite[Any], before: Callable[[], GraphModule]
    ) -> StepReport:
        """Apply a step, and prove or measure it.

        Args:
            graph: What is changed.
            step: Of the recipe.
            action: Its rewrite.
            before: Makes the graph before the step again.
        """
        allowed, refused = _sort_sites(graph, step, action)
        paths, details = tuple(site.path for site in allowed), tuple(site.detail for site in allowed)
        report = StepReport(action.name, action.exactness, paths, tuple(refused), details)
        if not allowed:
            return report if refused else replace(report, notes=("it matches nothing in this model",))
        apply_at(graph, action, allowed, self.calibration, self.examples)
        if not self.prove:
            return report
        if action.exactness.is_proved:
            return self._prove(report, before, graph, action, allowed)
        return self._charge(report, graph, step, action)

    def _prove(
        self,
        report: StepReport,
        before: Callable[[], GraphModule],
        after: GraphModule,
        action: Rewrite[Any],
        sites: list[Site],
    ) -> StepReport:
        """Compare the outputs in float64, and what float32 makes of them.

        Raises:
            GateError: The function is another one, or float32 loses too much.
        """
        if not action.any_size:
            size = self.loaded.recipe.input.shape[2:]
            self.outputs = {case: output for case, output in self.outputs.items() if case.shape[2:] == size}
        outputs = proofs.outputs_of(after, tuple(self.outputs))
        proof = proofs.compare(self.outputs, outputs)
        if not proof.holds:
            culprit, again = self._find_culprit(before(), action, sites)
            raise GateError(
                f"The rewrite {action.name} says {action.exactness.value} and is not: {culprit}.",
                f"This is a fault of the rewrite. Leave it out of the recipe, and report it.{again}",
            )
        self.outputs = outputs
        if self.inputs is None:
            return replace(report, proof=proof)
        rounding = float32.rounding_of(after, self.inputs, self.measured["now"])
        rounded = float32.check(self.rounding, rounding, len(self.inputs[INPUT]))
        if not rounded.holds:
            raise GateError(
                f"The rewrite {action.name} is exact in real arithmetic and not in float32: its error on "
                f"{rounded.count} calibration inputs is {rounded.ulps:.3g} x 2^-24 of the largest {rounded.output}, "
                f"and the limit is {rounded.limit:.3g}.",
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
                        f"\nThe input again: mobilekit.rewrites.proof.{case!r}.make()",
                    )
        return "only all sites together change the outputs", ""

    def _charge(self, report: StepReport, graph: GraphModule, step: RewriteStep, action: Rewrite[Any]) -> StepReport:
        """Measure the drift on the calibration inputs, after the steps before and alone.

        Raises:
            GateError: An approximate rewrite drifts further than the recipe allows.
        """
        if self.inputs is None:
            raise GateError(f"The rewrite {step.name} is approximate and there are no inputs to measure its drift on.")
        reference, old = self.measured["reference"], self.measured["now"]
        new = self._measure(graph)
        drift = drift_between(old, new)
        alone = drift if old is reference else self._drift_alone(step, action)
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
        if action.exactness is Exactness.APPROXIMATE:
            report = replace(report, max_drift=step.max_drift, min_top1_agreement=step.min_top1_agreement)
            if self.hold:
                self._hold(step, "changes the outputs", drift)
                self._hold(step, "alone changes the outputs", alone or drift)
        self.outputs = proofs.outputs_of(graph, tuple(self.outputs))
        self.measured["now"] = new
        self.rounding = float32.rounding_of(graph, self.inputs, new)
        return report

    def _drift_alone(self, step: RewriteStep, action: Rewrite[Any]) -> Drift | None:
        """Apply one step to the reference; None where it then changes nothing."""
        assert self.reference is not None
        graph = copy.deepcopy(self.reference)
        fresh = type(action)(action.options)
        allowed, _refused = _sort_sites(graph, step, fresh)
        if not allowed:
            return None
        apply_at(graph, fresh, allowed, self.calibration)
        return drift_between(self.measured["reference"], self._measure(graph))

    def _hold(self, step: RewriteStep, change: str, drift: Drift) -> None:
        place = next(i for i, other in enumerate(self.loaded.recipe.rewrites) if other is step)
        where = self.loaded.where(("rewrites", place))
        hint = "if the task can bear it, change the rewrite's options, or leave it out."
        if not drift.relative_l2 <= step.max_drift:
            raise GateError(
                f"The rewrite {step.name} {change} by {drift.relative_l2:.3g} (relative L2 on the calibration "
                f"inputs); max_drift is {step.max_drift:g} at {where}.",
                f"Raise max_drift {hint}",
            )
        least = step.min_top1_agreement
        if least is not None and drift.top1_agreement < least:
            raise GateError(
                f"The rewrite {step.name} {change}: the largest is the same one for {drift.top1_agreement:.2%} of the "
                f"calibration inputs; min_top1_agreement is {least:g} at {where}.",
                f"Lower min_top1_agreement {hint}",
            )

    def _measure(self, graph: GraphModule) -> dict[str, torch.Tensor]:
        assert self.inputs is not None
        with torch.no_grad():
            return run_in_batches(graph, self.inputs, at_once(self.inputs))


def _look(step: RewriteStep, action: Rewrite[Any]) -> Callable[[GraphModule], Paths]:
    return lambda graph: frozenset(site.path for site in _sort_sites(graph, step, action)[0])


def _sort_sites(graph: GraphModule, step: RewriteStep, action: Rewrite[Any]) -> tuple[list[Site], list[Refusal]]:
    allowed, refused = [], []
    for site, reason in matches(graph, action):
        if reason is None and action.exactness is Exactness.NEEDS_RETRAINING and not step.allow:
            reason = "it needs retraining, and the recipe does not say `allow: true`"
        if reason is None:
            allowed.append(site)
        else:
            refused.append(Refusal(site.path, reason))
    return allowed, refused
