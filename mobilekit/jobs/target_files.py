"""Files that a target takes in place of a bundle's common ones: the same function, in ops that it computes rightly.

`model.dynamic.gpu.tflite` stands beside `model.dynamic.tflite`, which the processor runs faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.convert.dense import with_dense_pointwise
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import GateResult, Ledger
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.store.files import write_atomic
from mobilekit.store.stages import Stage

OWN_FORMS: dict[str, Callable[[bytes], tuple[bytes, int]]] = {"gpu": with_dense_pointwise}
"""By target: returns a TFLite file in the target's form, and how many ops are others."""
_INPUTS = 4


def write_target_files(folder: Path, stages: Iterable[Stage], target: str) -> None:
    """Write a target's own file beside each common one that has ops which it computes wrongly.

    Args:
        folder: The files.
        stages: Those whose files are there.
        target: As users name it.
    """
    if own_form := OWN_FORMS.get(target):
        for stage in stages:
            if stage.file_format == "tflite":
                content, changed = own_form((folder / stage.file).read_bytes())
                if changed:
                    write_atomic(folder / stage.own_file(target), content)


def notes_of_target_files(folder: Path, stages: Iterable[Stage]) -> Iterator[str]:
    """Say which files are for a target alone."""
    for stage, target in _own(folder, stages):
        file, size = stage.own_file(target), (folder / stage.own_file(target)).stat().st_size
        yield (
            f"{file} is for {target} alone: the function of {stage.file}, which {target} would compute wrongly, in ops "
            f"that it computes rightly ({size / 1e6:.1f} MB; slower on the processor)."
        )


def check_target_files(
    folder: Path, ledger: Ledger, stages: Iterable[Stage], evaluation: Evaluation
) -> Iterator[GateResult]:
    """Run targets' own files here, and hold them to the files that they stand for.

    Files of int8 have to be equal to the bit, as sums of integers are. In files of dynamic range the runtime scales the
    values of other groups together: they may differ by as much as the common one from the reference.

    Args:
        folder: The files.
        ledger: Has the limits of the common ones.
        stages: Those whose files are there.
        evaluation: What to run them on.
    """
    inputs = {name: array[:_INPUTS] for name, array in evaluation.inputs.items()}
    for stage, target in _own(folder, stages):
        paths = (folder / stage.file, folder / stage.own_file(target))
        common, own = (LiteRTRuntime(path).run(inputs) for path in paths)
        lost = max(compare(common[name], own[name]).relative_l2 for name in common)
        limit = 0.0 if stage.is_calibrated else _limit(ledger, stage)
        yield GateResult(paths[1].name, "same-function", limit, lost, "pass" if lost <= limit else "fail", "", target)


def _own(folder: Path, stages: Iterable[Stage]) -> Iterator[tuple[Stage, str]]:
    """Yield each stage of whose file a target has a form of its own, and the target."""
    for stage in stages:
        for target in OWN_FORMS:
            if not stage.is_on_device and (folder / stage.own_file(target)).is_file():
                yield stage, target


def _limit(ledger: Ledger, stage: Stage) -> float:
    """Return the relative L2 from the reference that a stage may have: the least of its outputs' limits."""
    rows = [row for row in ledger.rows if row.stage is stage and row.is_total]
    return min((bound.limit for row in rows for bound in row.limits if bound.metric == "relative_l2"), default=0.0)
