"""Gates on how targets run the files of a bundle, and gates that hold nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mobilekit.errors import UsageError
from mobilekit.parity.ledger.result import GateResult
from mobilekit.recipes.gates import TargetGate
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import file_on
from mobilekit.store.stages import FORM_STAGES, Stage
from mobilekit.targets.answer import Answer
from mobilekit.targets.catalogue import find_target

Progress = Callable[[str], None]
_REASONS = 3  # why ops are left, in a sentence


def check_named(loaded: LoadedRecipe) -> None:
    """See before the work that the targets of a recipe's gates exist and can be asked.

    Raises:
        UsageError: There is none of a name, or one reads no file that is made.
        ToolError: Its parts are not installed.
    """
    for error in faults_of(loaded):
        raise error
    for word in loaded.recipe.gates.targets or {}:
        if problem := find_target(word).why_not():
            raise problem


def faults_of(loaded: LoadedRecipe) -> Iterator[UsageError]:
    """Yield what is wrong with the targets of a recipe's gates, with file and line where the recipe names them."""
    for word, gate in (loaded.recipe.gates.targets or {}).items():
        path = ("gates", "targets", word)
        place = f"{loaded.where(path)}: " if path in loaded.lines else ""
        try:
            target = find_target(word)
        except UsageError as error:
            yield UsageError(place + error.what, error.hint)
            continue
        made = (Stage.ONNX_SIMPLIFIED, *(FORM_STAGES[form] for form in gate.precision or loaded.recipe.precision))
        if not any(target.takes(Path(stage.file)) for stage in made):
            yield UsageError(
                f"{place}The target {word} reads {target.reads}, and none is made that it could be asked about.",
                "Add int8 to the precisions, or leave the target out.",
            )


def check_targets(
    folder: Path, recipe: Recipe, stages: Iterable[Stage], progress: Progress = lambda _message: None
) -> list[GateResult]:
    """Ask the targets of a recipe's gates about the files of a bundle.

    Args:
        folder: The files.
        recipe: Its gates.
        stages: Those whose files are there.
        progress: Is told what goes on.

    Raises:
        UsageError: There is no such target.
        ToolError: It cannot be asked.
    """
    results: list[GateResult] = []
    for word, gate in (recipe.gates.targets or {}).items():
        target = find_target(word)
        for stage in stages:
            path = file_on(folder, stage, word)
            if gate.holds(stage) and path.parent == folder and target.takes(path):
                progress(f"asking {word} about {path.name}")
                results += _results(target.ask(path), gate)
    return results


def gates_without_files(recipe: Recipe) -> Iterator[str]:
    """Say which gates hold nothing, as their files are not made."""
    named = set(recipe.gates.places.values())
    if unmade := [name for name in FORM_STAGES if name in named and name not in recipe.precision]:
        yield f"The recipe's gates on {', '.join(unmade)} are not checked: no such file is made."


def _results(answer: Answer, gate: TargetGate) -> Iterator[GateResult]:
    left = answer.total - answer.taken + sum(each.count for each in answer.wrong)
    why = "; ".join(f"{each.count} {each.op} ({each.words})" for each in (*answer.refused, *answer.wrong)[:_REASONS])
    if gate.whole:
        passed = answer.is_whole and not answer.wrong
        verdict = "pass" if passed else "fail"
        yield GateResult(answer.file, "whole", 0, left, verdict, "" if passed else why, answer.target)  # type: ignore[arg-type]
    if gate.max_partitions is not None:
        partitions = int(answer.is_whole) if answer.partitions is None else answer.partitions
        passed = 0 < partitions <= gate.max_partitions and (gate.max_partitions > 1 or answer.taken == answer.total)
        verdict = "pass" if passed else "fail"
        yield GateResult(
            answer.file,
            "max_partitions",
            gate.max_partitions,
            partitions,
            verdict,  # type: ignore[arg-type]
            "" if passed else why,
            answer.target,
        )
