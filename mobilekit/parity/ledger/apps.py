"""What comes of the pictures where an app makes the model's input, and not the recipe: drift that no file shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import UsageError
from mobilekit.parity.ledger.metrics import Outputs, compare
from mobilekit.parity.ledger.result import AppRow, GateResult
from mobilekit.parity.ledger.task import k_for
from mobilekit.recipes.gates import App, AppGate
from mobilekit.recipes.inputs.apps import APPS
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.extra import with_extras
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT

NO_PICTURES = "the inputs are arrays, and no pictures that an app could scale"


def check_pictures(evaluation: Evaluation) -> None:
    """See before the work that inputs are pictures.

    Raises:
        UsageError: They are not.
    """
    if evaluation.pictures is None:
        raise UsageError(
            f"--app starts at pictures, and {evaluation.name} holds arrays.",
            "Give --inputs DIR, a folder of pictures larger than the model's input; built-in ones without it.",
        )


def measure_apps(
    names: Iterable[str],
    recipe: Recipe,
    evaluation: Evaluation,
    runtime: Runtime,
    reference: Arrays,
    file: str,
    progress: Callable[[str], None] = lambda _message: None,
) -> Iterator[AppRow]:
    """Yield a row for each app and output; mistakes that cannot be made with the model or the pictures are left out.

    Args:
        names: Of `APPS`.
        recipe: Says how the input ought to be made.
        evaluation: The pictures, with labels perhaps.
        runtime: Is given what the apps make.
        reference: What the reference gives on `evaluation.inputs`, (N, ...) by name.
        file: What `runtime` runs.
        progress: Is told each app.

    Raises:
        UsageError: The inputs are no pictures, or one cannot be read any more.
        ToolError: The file failed while it ran.
    """
    check_pictures(evaluation)
    assert evaluation.pictures
    pictures = [name for name, _image in evaluation.pictures()]
    known: dict[tuple[Input, bool], Arrays] = {}
    for name in names:
        app = APPS[name]
        spec = app.input_of(recipe.input)
        if spec is None:
            continue
        how = (spec, app.is_reordered)
        if how not in known:
            made = np.stack([app.preprocess(image, spec, picture) for picture, image in evaluation.pictures()])
            if app.is_mistake and np.array_equal(made, evaluation.inputs[INPUT]):
                continue
            progress(f"measuring app-{name}")
            known[how] = runtime.run(with_extras(made, recipe))
        for output, truth in reference.items():
            k = k_for(truth.shape[1], recipe.top_k) if truth.ndim == 2 else None
            changes = _changes(truth, known[how][output])
            worst = int(np.argmax(changes))
            yield AppRow(
                **vars(compare(truth, known[how][output], evaluation.labels, k)),
                app=name,
                what=app.what,
                is_mistake=app.is_mistake,
                file=file,
                output=output,
                worst=pictures[worst],
                worst_relative_l2=changes[worst],
            )


def _changes(reference: Outputs, candidate: Outputs) -> Sequence[float]:
    """Return the relative L2 change of each input's outputs."""
    pairs = zip(reference, candidate, strict=True)
    return [compare(truth[None], other[None]).relative_l2 for truth, other in pairs]


def check_apps(rows: Sequence[AppRow], gates: Mapping[App, AppGate], file: str) -> Iterator[GateResult]:
    """Hold the rows of apps to the recipe's gates; without rows, as of arrays, nothing is judged.

    Args:
        rows: What was measured.
        gates: By the app.
        file: What the apps' inputs were given to.
    """
    for name, gate in gates.items():
        own = [row for row in rows if row.app == name]
        if not own:
            yield GateResult(file, f"app-{name}", gate.agreement, math.nan, "inconclusive", NO_PICTURES)
            continue
        least = min(own, key=lambda row: row.top1_agreement)
        holds = least.top1_agreement >= gate.agreement
        why = "" if holds else f"{least.what}; {least.worst} suffers most"
        verdict = "pass" if holds else "fail"
        yield GateResult(file, f"app-{name}", gate.agreement, least.top1_agreement, verdict, why)  # type: ignore[arg-type]
