"""The sites of an approximate rewrite by what each costs, so that the cheap ones can be swapped first."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.errors import UsageError
from mobilekit.jobs.explain_rewrites import only
from mobilekit.models.batches import run_in_batches
from mobilekit.models.inputs import Tensors, zeros
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.rewrites.base import Rewrite, Site
from mobilekit.rewrites.catalogue import find_rewrite, steps_of
from mobilekit.rewrites.contract import apply_at, matches
from mobilekit.rewrites.drift import Drift, at_once, drift_between, finite
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import note_shapes
from mobilekit.rewrites.fx.precision import compute_in


@dataclass(frozen=True)
class Ranked:
    """One site, swapped alone and together with those before it in the list."""

    path: str
    drift: float
    """Relative L2 change of the outputs where this site alone is swapped."""
    top1_agreement: float
    cumulative_drift: float
    """The same where this site and all before it are swapped."""
    cumulative_top1_agreement: float

    def to_json(self) -> dict[str, Any]:
        """Return the site as JSON data."""
        figures = {name: finite(value) for name, value in asdict(self).items() if name != "path"}
        return {"path": self.path, **figures}


def rank(
    model: nn.Module,
    loaded: LoadedRecipe,
    name: str,
    inputs: Tensors,
    progress: Callable[[str], None] = lambda _message: None,
    measured: Tensors | None = None,
) -> list[Ranked]:
    """Swap each site alone, then one after another from the cheapest on, in float64.

    The recipe's steps before the rewrite are applied first, if it names the rewrite. Sites of one path, such as a
    module that the model calls twice, are one.

    Args:
        model: The reference model, float32; left as it is.
        loaded: The recipe.
        name: The rewrite.
        inputs: float32 (N, ...) by name, to fit on.
        progress: Is told what goes on.
        measured: Inputs to measure on; those to fit on without.

    Raises:
        UsageError: There is no such rewrite, it is exact, or it matches nothing.
    """
    if find_rewrite(name).exactness.is_proved:
        raise UsageError(f"{name} is exact: no site costs anything.", "Rank an approximate rewrite.")
    steps = loaded.recipe.rewrites
    place = next((index for index, step in enumerate(steps) if step.name == name), 0)
    before = replace(loaded, recipe=loaded.recipe.model_copy(update={"rewrites": steps[:place]}))
    graph = compute_in(rewrite(model, before, inputs, prove=False).graph, torch.float64)
    note_shapes(graph, zeros(loaded.recipe.shapes, torch.float64))
    fitted, chosen = _double(inputs), _double(inputs if measured is None else measured)
    trial = _Trial(graph, _everywhere(only(loaded, name)), fitted, chosen)
    alone: dict[str, Drift] = {}
    for path in trial.paths:
        progress(f"{name}: site {len(alone) + 1} of {len(trial.paths)}, {path}")
        alone[path] = trial.swap({path})
    order = sorted(alone, key=lambda path: (math.isnan(alone[path].relative_l2), alone[path].relative_l2))
    ranked = []
    for count, path in enumerate(order, 1):
        progress(f"{name}: the cheapest {count} of {len(order)} together")
        together = trial.swap(set(order[:count]))
        own = alone[path]
        ranked.append(Ranked(path, own.relative_l2, own.top1_agreement, together.relative_l2, together.top1_agreement))
    return ranked


def step_for(loaded: LoadedRecipe, name: str, sites: list[str], max_drift: float) -> dict[str, Any]:
    """Return the step of a recipe that applies a rewrite at these sites, with the options that the recipe has for it.

    Raises:
        UsageError: The rewrite is applied at all sites or none.
    """
    if "sites" not in find_rewrite(name).options_type.model_fields:
        raise UsageError(f"{name} has no option `sites`: a recipe applies it everywhere or not at all.")
    [step] = only(loaded, name).recipe.rewrites
    return {"name": name, "max_drift": max_drift, "options": {**step.options, "sites": sites}}


def cheapest(ranked: list[Ranked], max_drift: float) -> list[str]:
    """Return the paths of as many sites, from the cheapest on, as keep the drift of all together within a limit."""
    fitting = [count for count, site in enumerate(ranked, 1) if site.cumulative_drift <= max_drift]
    return [site.path for site in ranked[: max(fitting, default=0)]]


def _everywhere(loaded: LoadedRecipe) -> Rewrite[Any]:
    """Return the recipe's only rewrite, without the recipe's own choice of sites."""
    [step] = steps_of(loaded)
    action = step.rewrite
    options = action.options.model_dump()
    options.pop("sites", None)
    return type(action)(action.options_type.model_validate(options))


def _double(tensors: Tensors) -> Tensors:
    return {name: tensor.double() for name, tensor in tensors.items()}


class _Trial:
    def __init__(self, graph: GraphModule, action: Rewrite[Any], inputs: Tensors, measured: Tensors) -> None:
        self.graph = graph
        self.action = action
        self.inputs = inputs
        self.measured = measured
        self.sites = [site for site, reason in matches(graph, action) if reason is None]
        if not self.sites:
            raise UsageError(f"{action.name} matches nothing in this model.", "`mobilekit rewrites explain` says why.")
        self.paths = list(dict.fromkeys(site.path for site in self.sites))
        self.outputs = self._run(graph)

    def swap(self, paths: set[str]) -> Drift:
        """Apply the rewrite at the sites of these paths, and measure."""
        graph = copy.deepcopy(self.graph)
        action = type(self.action)(self.action.options)
        chosen: list[Site] = [site for site in self.sites if site.path in paths]
        apply_at(graph, action, chosen, self.inputs)
        return drift_between(self.outputs, self._run(graph))

    def _run(self, graph: GraphModule) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return run_in_batches(graph, self.measured, at_once(self.measured))
