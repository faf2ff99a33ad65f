"""Applies a recipe's rewrites in order, and proves or measures each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.bundle import INPUT
from mobilekit.errors import GateError, UsageError
from mobilekit.models.inputs import Tensors, describe_shapes, zeros
from mobilekit.models.outputs import run_in_batches
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites import proof as proofs
from mobilekit.rewrites.base import Exactness, Rewrite, Site
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.graph import note_shapes, tidy, trace
from mobilekit.rewrites.proof import Case, Proof

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Refusal:
    """A site at which a rewrite was not applied, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class StepReport:
    """What one step of the recipe did."""

    name: str
    exactness: Exactness
    applied: tuple[str, ...]
    refused: tuple[Refusal, ...]
    proof: Proof | None = None
    drift: float | None = None
    """Relative L2 change of the outputs on the calibration inputs, by this rewrite alone."""
    max_drift: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "name": self.name,
            "exactness": self.exactness.value,
            "applied": list(self.applied),
            "refused": [asdict(refusal) for refusal in self.refused],
            "proof": self.proof.to_json() if self.proof else None,
            "drift": self.drift,
            "max_drift": self.max_drift,
        }


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

    Raises:
        GateError: An exact rewrite changed the function, or an approximate one drifted further than allowed.
        UsageError: The recipe or the model cannot be used.
    """
    recipe = loaded.recipe
    graph = trace(model, zeros(recipe.shapes)).double()
    exact = {name: tensor.double() for name, tensor in calibration.items()} if calibration is not None else None
    run = _Run(loaded, exact, prove)
    if prove:
        progress("running the reference in float64")
        run.outputs = proofs.outputs_of(graph, proofs.cases_for(recipe))
        run.outputs = run.outputs or proofs.outputs_of(graph, (proofs.smallest_case(recipe),))
        if not run.outputs:
            raise UsageError(f"The model cannot take {describe_shapes(recipe.shapes)}.")
    reports = []
    for step, action in steps_of(loaded):
        progress(f"rewrite {action.name}")
        reports.append(run.apply(graph, step, action))
    return Rewritten(graph.float(), tuple(reports))


class _Run:
    """The outputs before the step at hand: each step is compared with the one before it."""

    def __init__(self, loaded: LoadedRecipe, calibration: Tensors | None, prove: bool) -> None:
        self.loaded = loaded
        self.calibration = calibration
        self.prove = prove
        self.outputs: dict[Case, Any] = {}

    def apply(self, graph: GraphModule, step: RewriteStep, action: Rewrite[Any]) -> StepReport:
        note_shapes(graph, zeros(self.loaded.recipe.shapes, torch.float64))
        allowed, refused = _sort_sites(graph, step, action)
        report = StepReport(action.name, action.exactness, tuple(site.path for site in allowed), tuple(refused))
        if not allowed:
            return report
        before = copy.deepcopy(graph) if self.prove else graph
        action.prepare(graph, allowed, self.calibration)
        for site in allowed:
            action.apply(graph, site)
        tidy(graph)
        if not self.prove:
            return report
        after = proofs.outputs_of(graph, tuple(self.outputs))
        if action.exactness.is_proved:
            proof = proofs.compare(self.outputs, after)
            if not proof.holds:
                raise GateError(
                    f"The rewrite {action.name} says {action.exactness.value} and is not: "
                    f"{self._find_culprit(before, action, allowed)}.",
                    "This is a fault of the rewrite. Leave it out of the recipe, and report it.",
                )
            report = replace(report, proof=proof)
        else:
            drift = self._measure_drift(before, graph, step, action)
            report = replace(report, drift=drift, max_drift=max(step.max_drift, drift))
        self.outputs = after
        return report

    def _find_culprit(self, before: GraphModule, action: Rewrite[Any], sites: list[Site]) -> str:
        """Apply the sites one after another, and name the first that changes an output."""
        for site in sites:
            action.apply(before, site)
            before.recompile()
            outputs = proofs.outputs_of(before, tuple(self.outputs))
            for case, output in self.outputs.items():
                error = proofs.relative_error(output, outputs[case]) if case in outputs else float("inf")
                if error > proofs.EXACT_RELATIVE_ERROR:
                    shape = "x".join(map(str, case.shape))
                    return f"at {site.path} the relative error is {error:.1e} (normal input {shape}, seed {case.seed})"
        return "only all sites together change the outputs"

    def _measure_drift(self, before: GraphModule, after: GraphModule, step: RewriteStep, action: Rewrite[Any]) -> float:
        """Return the relative L2 change on the calibration inputs; only an approximate rewrite is held to a limit."""
        if self.calibration is None:
            raise GateError(f"The rewrite {step.name} is approximate and there are no inputs to measure its drift on.")
        count = len(self.calibration[INPUT])
        with torch.no_grad():
            old, new = (run_in_batches(graph, self.calibration, count) for graph in (before, after))
        norm = torch.linalg.vector_norm
        drift = max(float(norm(new[name] - old[name]) / norm(old[name])) for name in old)
        if action.exactness is Exactness.APPROXIMATE and not drift <= step.max_drift:
            place = next(i for i, other in enumerate(self.loaded.recipe.rewrites) if other is step)
            raise GateError(
                f"The rewrite {step.name} changes the outputs by {drift:.3g} (relative L2 on the calibration inputs); "
                f"max_drift is {step.max_drift:g} at {self.loaded.where(('rewrites', place))}.",
                "Raise max_drift if the task can bear it, change the rewrite's options, or leave it out.",
            )
        return drift


def _sort_sites(graph: GraphModule, step: RewriteStep, action: Rewrite[Any]) -> tuple[list[Site], list[Refusal]]:
    allowed, refused = [], []
    for site in action.find(graph):
        reason = action.why_not(graph, site)
        if reason is None and action.exactness is Exactness.NEEDS_RETRAINING and not step.allow:
            reason = "it needs retraining, and the recipe does not say `allow: true`"
        if reason is None:
            allowed.append(site)
        else:
            refused.append(Refusal(site.path, reason))
    return allowed, refused
