"""The forms in which parts of a model can be written, as rewrites of a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import RewriteStep
from mobilekit.rewrites.base import Exactness, Rewrite
from mobilekit.rewrites.catalogue import find_rewrite, rewrite_names

# They only take work away, and other rewrites build on them: there is no second form to weigh them against.
_NO_CHOICE = ("remove-identity", "fold-batch-norm", "merge-branches", "noop-slice")
AS_WRITTEN = "as written"


@dataclass(frozen=True)
class Form:
    """One form of a part: rewrite steps that a recipe has, and without the group's others."""

    name: str
    steps: tuple[RewriteStep, ...] = ()


@dataclass(frozen=True)
class Group:
    """Forms of which a recipe has one."""

    name: str
    rewrites: tuple[str, ...]
    """All rewrites that belong to the group; a form's steps take the place of theirs."""
    forms: tuple[Form, ...]

    def form_of(self, loaded: LoadedRecipe) -> Form:
        """Return the form that a recipe has, which may be none of the group's own."""
        steps = tuple(step for step in loaded.recipe.rewrites if step.name in self.rewrites)
        return next((form for form in self.forms if form.steps == steps), Form("the recipe's own", steps))

    def applied_to(self, loaded: LoadedRecipe, form: Form) -> LoadedRecipe:
        """Return a recipe with this form: its steps stand where the group's first was, or at the end."""
        steps = loaded.recipe.rewrites
        place = next((index for index, step in enumerate(steps) if step.name in self.rewrites), len(steps))
        others = [step.name not in self.rewrites for step in steps]
        before = tuple(itertools.compress(steps[:place], others[:place]))
        after = tuple(itertools.compress(steps[place:], others[place:]))
        changed = loaded.recipe.model_copy(update={"rewrites": (*before, *form.steps, *after)})
        return replace(loaded, recipe=changed)


def _step(name: str, **options: Any) -> RewriteStep:
    return RewriteStep(name=name, options=options)


_TRANSPOSED = _step("channel-shuffle", form="transpose")
_GATHERED = _step("channel-shuffle", form="gather")
_DENSE = _step("dense-grouped", to="dense")
_IN_WEIGHTS = _step("shuffle-into-weights")
_FREE = (_IN_WEIGHTS, _step("shuffle-after-stride"))  # what makes a shuffle smaller or nothing, at no price

# Rewrites that only together make a form.
_JOINT = (
    Group(
        "grouped convolutions and channel shuffle",
        ("dense-grouped", "shuffle-into-weights", "shuffle-after-stride", "channel-shuffle"),
        (
            Form(AS_WRITTEN),
            Form("shuffle as transpositions", (*_FREE, _TRANSPOSED)),
            Form("shuffle as gather", (*_FREE, _GATHERED)),
            Form("shuffle in the weights of one convolution each", (_step("shuffle-into-weights", densify=True),)),
            Form("dense", (_DENSE,)),
            Form("dense, shuffle as transpositions", (_DENSE, _TRANSPOSED)),
            Form("dense, shuffle as gather", (_DENSE, _GATHERED)),
            Form("dense, shuffle in the weights", (_DENSE, _IN_WEIGHTS)),
        ),
    ),
)


def groups_for(max_drift: float | None = None) -> list[Group]:
    """Return the groups of all rewrites that keep the function; installed packages' too.

    Args:
        max_drift: Approximate rewrites are forms as well, each held to this drift; None leaves them out.
    """
    joint = {name for group in _JOINT for name in group.rewrites}
    alone = [name for name in rewrite_names() if name not in joint and name not in _NO_CHOICE]
    found = [_alone(find_rewrite(name), max_drift) for name in alone]
    return [*_JOINT, *(group for group in found if group is not None)]


def _alone(rewrite: type[Rewrite[Any]], max_drift: float | None) -> Group | None:
    """Return the group of one rewrite: without it, and with each of its forms."""
    if rewrite.exactness is Exactness.NEEDS_RETRAINING:
        return None
    drift = 0.0 if rewrite.exactness.is_proved else max_drift
    if drift is None:
        return None
    forms = [
        Form(_title(rewrite.name, options), (RewriteStep(name=rewrite.name, options=options, max_drift=drift),))
        for options in _choices(rewrite)
    ]
    return Group(rewrite.name, (rewrite.name,), (Form(f"without {rewrite.name}"), *forms))


def _title(name: str, options: dict[str, Any]) -> str:
    return " ".join([name, *(f"{option} {value}" for option, value in options.items())])


def _choices(rewrite: type[Rewrite[Any]]) -> list[dict[str, Any]]:
    """Return the options of each form: every combination of the options that are one word of several."""
    words: dict[str, Sequence[str]] = {
        name: get_args(field.annotation)
        for name, field in rewrite.options_type.model_fields.items()
        if get_origin(field.annotation) is Literal
    }
    combinations = [dict(zip(words, values, strict=True)) for values in itertools.product(*words.values())]
    required = any(
        field.is_required() and name not in words for name, field in rewrite.options_type.model_fields.items()
    )
    return [] if required else combinations
