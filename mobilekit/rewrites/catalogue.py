"""The rewrites that there are, by name."""

from __future__ import annotations

from typing import Any

from mobilekit.errors import UsageError, nearest
from mobilekit.recipes.load import LoadedRecipe, check_options
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.base import Rewrite
from mobilekit.rewrites.batch_norm import FoldBatchNorm
from mobilekit.rewrites.dfc_dense import DFCDense
from mobilekit.rewrites.dfc_shared import DFCShared
from mobilekit.rewrites.gate import GateBeforeUpsample
from mobilekit.rewrites.noop_slice import NoopSlice

REWRITES: dict[str, type[Rewrite[Any]]] = {
    rewrite.name: rewrite for rewrite in (DFCShared, DFCDense, GateBeforeUpsample, FoldBatchNorm, NoopSlice)
}


def steps_of(loaded: LoadedRecipe) -> list[tuple[RewriteStep, Rewrite[Any]]]:
    """Return the recipe's steps with their rewrites made.

    Raises:
        UsageError: A step names no rewrite, or gives it wrong options; with file and line.
    """
    steps = []
    for index, step in enumerate(loaded.recipe.rewrites):
        kind = REWRITES.get(step.name)
        if kind is None:
            place = loaded.where(("rewrites", index, "name"))
            raise UsageError(f"{place}: there is no rewrite {step.name}.", nearest(step.name, REWRITES))
        steps.append((step, kind(check_options(kind.options_type, step, loaded))))
    return steps
