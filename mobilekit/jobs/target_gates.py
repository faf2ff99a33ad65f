"""Gates on how targets run the files of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mobilekit.errors import UsageError
from mobilekit.parity.ledger.result import GateResult
from mobilekit.recipes.gates import TargetGate
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import Stage, tflite_stage
from mobilekit.targets.answer import Answer
from mobilekit.targets.catalogue import find_target

Progress = Callable[[str], None]
_REASONS = 3  # why ops are left, in a sentence


def check_named(recipe: Recipe) -> None:
    """See before the work that the targets of a recipe's gates exist and can be asked.

    Raises:
        UsageError: There is none of a name, or one reads no file that is made.
        ToolError: Its parts are not installed.
    """
    for word, gate in (recipe.gates.targets or {}).items():
        target = find_target(word)
        made = (Stage.ONNX_SIMPLIFIED, *map(tflite_stage, gate.precision or recipe.precision))
        if not any(target.takes(Path(stage.file)) for stage in made):
            raise UsageError(
                f"The target {word} reads {target.reads}, and none is made that it could be asked about.",
                "Add int8 to the precisions, or leave the target out.",
            )
        if problem := target.why_not():
            raise problem


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
            path = folder / stage.file
            is_held = not gate.precision or stage.precision in gate.precision or stage.file_format == "onnx"
            if is_held and path.parent == folder and target.takes(path):
                progress(f"asking {word} about {path.name}")
                results += _results(target.ask(path), gate)
    return results


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
