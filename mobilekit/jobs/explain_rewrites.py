"""What a recipe's rewrites do to a model: every site, what it costs, and what it brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from torch import nn
from torch.fx import GraphModule

from mobilekit.jobs.graph_cost import Cost, changed_kinds, cost_of
from mobilekit.models.inputs import Tensors
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.catalogue import Step, find_rewrite
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.report import StepReport


@dataclass(frozen=True)
class Explanation:
    """What each step did."""

    steps: tuple[StepReport, ...]
    costs: tuple[Cost, ...]
    """Before the first step, and after each."""

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON data."""
        return {
            "before": self.costs[0].to_json(),
            "after": self.costs[-1].to_json(),
            "steps": [
                _step_json(step, before, after)
                for step, (before, after) in zip(self.steps, pairwise(self.costs), strict=True)
            ],
        }


def explain(
    model: nn.Module,
    loaded: LoadedRecipe,
    calibration: Tensors,
    progress: Callable[[str], None] = lambda _message: None,
) -> Explanation:
    """Apply and prove or measure a recipe's rewrites; a drift above its limit does not stop it.

    Args:
        model: The reference model, float32; left as it is.
        loaded: The recipe.
        calibration: float32 inputs (N, ...) by name.
        progress: Is told what goes on.

    Raises:
        GateError: An exact rewrite changed the function.
        UsageError: The recipe or the model cannot be used.
    """
    costs: list[Cost] = []

    def watch(_step: Step | None, graph: GraphModule) -> None:
        costs.append(cost_of(graph, loaded.recipe.shapes))

    result = rewrite(model, loaded, calibration, progress=progress, enforce_limits=False, watch=watch)
    return Explanation(result.steps, tuple(costs))


def only(loaded: LoadedRecipe, name: str) -> LoadedRecipe:
    """Return a recipe with one rewrite alone, with the options that the recipe gives it, if it names it.

    It is allowed, also where it needs retraining.

    Raises:
        UsageError: There is no such rewrite.
    """
    find_rewrite(name)
    named = next((step for step in loaded.recipe.rewrites if step.name == name), RewriteStep(name=name))
    step = named.model_copy(update={"allow": True})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": (step,)}), lines={})


def _step_json(step: StepReport, before: Cost, after: Cost) -> dict[str, Any]:
    content = step.to_json()
    applied, refused, details = (content.pop(key) for key in ("applied", "refused", "details"))
    sites = [
        {"path": path, "applied": True, "reason": None, "detail": detail or None}
        for path, detail in zip(applied, details, strict=True)
    ]
    sites += [{"path": one["path"], "applied": False, "reason": one["reason"], "detail": None} for one in refused]
    return {
        "name": content.pop("name"),
        "exactness": content.pop("exactness"),
        "sites": sites,
        "macs": [before.macs, after.macs],
        "ops": [before.ops, after.ops],
        "changed_ops": changed_kinds(before, after),
        "proof_error": step.proof.relative_error if step.proof else None,
        **content,
        "within_limits": _is_within(step),
    }


def _is_within(step: StepReport) -> bool | None:
    """Return whether an export would go on; None where nothing is promised."""
    if step.drift is None or step.max_drift is None:
        return None
    drifts = [drift for drift in (step.drift, step.drift_alone) if drift is not None]
    shares = [share for share in (step.top1_agreement, step.top1_agreement_alone) if share is not None]
    return all(drift <= step.max_drift for drift in drifts) and min(shares) >= (step.min_top1_agreement or 0)
