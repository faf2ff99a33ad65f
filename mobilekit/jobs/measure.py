"""Measure the stages of one folder against each other and the reference."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from mobilekit.artifacts.inspect import Inspection, artifact_summary, inspect
from mobilekit.artifacts.on_device import OnDevice
from mobilekit.artifacts.open import open_artifact, why_not_run
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.jobs.target_files import check_target_files, notes_of_target_files
from mobilekit.jobs.target_gates import check_targets, gates_without_files
from mobilekit.parity.ledger.accuracy import check_accuracy
from mobilekit.parity.ledger.apps import check_apps, measure_apps
from mobilekit.parity.ledger.gates import check_gate
from mobilekit.parity.ledger.ledger import Opener, check_evaluation, measure
from mobilekit.parity.ledger.result import AppRow, ArtifactSummary, GateResult, Ledger, NotRun
from mobilekit.parity.ledger.simulation import Simulation, simulate
from mobilekit.parity.ledger.slower import slower_files, without_int8
from mobilekit.recipes.inputs.apps import APPS
from mobilekit.recipes.inputs.builtin import Evaluation, evaluation_inputs
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import Rewritten
from mobilekit.store import bundle as bundles
from mobilekit.store.manifest import FailedStage
from mobilekit.store.stages import FORM_STAGES, InputSet, Stage, stage_in

Progress = Callable[[str], None]


def file_stages(recipe: Recipe, failed: Iterable[FailedStage] = ()) -> list[Stage]:
    """Return the stages that are files in a bundle of this recipe, in the order of the conversion.

    Args:
        recipe: Its precisions are there.
        failed: But for these stages.
    """
    absent = {each.stage for each in failed}
    files = [FORM_STAGES[form] for form in recipe.precision]
    return [Stage.ONNX, Stage.ONNX_SIMPLIFIED, *(stage for stage in files if stage not in absent)]


def inspect_files(folder: Path, recipe: Recipe, failed: Iterable[FailedStage] = ()) -> dict[str, Inspection]:
    """Look into the ONNX and TFLite files of a bundle of this recipe, by their names; `failed` are not there.

    Raises:
        ToolError: A file cannot be opened.
        UsageError: A file is missing.
    """
    names = sorted(stage.file for stage in file_stages(recipe, failed) if stage is not Stage.ONNX)
    return {name: inspect(folder / name) for name in names}


def measure_folder(
    folder: Path,
    recipe: Recipe,
    reference: nn.Module,
    rewritten: Rewritten,
    evaluation: Evaluation | None = None,
    progress: Progress = lambda _message: None,
    is_trained: bool = True,
    device: OnDevice | None = None,
    artifacts: Mapping[str, Inspection] | None = None,
    failed: Sequence[FailedStage] = (),
    simulation: Simulation | None = None,
    apps: Sequence[str] = (),
) -> Ledger:
    """Open and run each artifact in a folder, and compare it.

    Args:
        folder: The files, as a bundle has them.
        recipe: Its precisions are there.
        reference: The reference model, float32.
        rewritten: The rewritten one.
        evaluation: What to measure on; the recipe's built-in data without.
        progress: Is told what goes on.
        is_trained: Whether the model has weights that mean something.
        device: Runs the TFLite files as well; each has a stage there then.
        artifacts: What `inspect_files` found, where that was asked before.
        failed: Stages that the export had to leave out.
        simulation: What the models gave on the same inputs; they are run without.
        apps: Ways in which apps make the inputs, each a row; those of the recipe's gates are in any case.

    Raises:
        ToolError: An artifact cannot be run.
        UsageError: The inputs do not fit, or are no pictures where apps are named; or the recipe loosens a limit
            without a reason.
    """
    evaluation, random = evaluation or evaluation_inputs(recipe), random_inputs(recipe)
    stages: dict[Stage, Opener] = {}
    not_run: list[NotRun] = []
    layouts = bundles.output_layouts(folder)
    for stage in file_stages(recipe, failed):
        if reason := why_not_run(stage):
            not_run.append(NotRun(stage, reason))
            continue
        stages[stage] = lambda path=folder / stage.file: open_artifact(path, layouts)  # type: ignore[misc]
        there = stage_in(device.place, stage) if device else None
        if device and there and there not in device.left:
            path = bundles.file_on(folder, stage, device.place)
            stages[there] = lambda there=there, path=path: device.open(there, path, layouts)  # type: ignore[misc]

    def tell(stage: str) -> None:
        progress(f"measuring {stage}")

    if simulation is None:
        check_evaluation(evaluation, reference)
        ranges = bundles.calibrated_ranges(folder)
        simulation = simulate(reference, rewritten.graph, recipe, evaluation, random, ranges, rewritten.reference, tell)
    ledger = measure(
        reference, rewritten.graph, stages, recipe, evaluation, random, rewritten.steps, tell, simulation, is_trained
    )
    artifacts = inspect_files(folder, recipe, failed) if artifacts is None else artifacts
    summaries = {
        stage.file: ArtifactSummary.from_json(artifact_summary(artifacts[stage.file]))
        for stage in (*stages, *(each.stage for each in not_run))
        if stage.file in artifacts
    }
    gates = [*_check_gates(artifacts, recipe)]
    gates += check_targets(folder, recipe, [stage for stage in stages if not stage.is_on_device], progress)
    gates += check_target_files(folder, ledger, stages, evaluation)
    if recipe.gates.accuracy:
        gates += check_accuracy(ledger, recipe.gates.accuracy, recipe.tflite_precisions)
    truth = simulation.outputs[Stage.REFERENCE][InputSet.REAL]
    rows, held = _measure_apps(apps, recipe, evaluation, stages, reference, truth, progress)
    gates += held
    notes = (
        *ledger.notes,
        *gates_without_files(recipe),
        *slower_files(artifacts, recipe.int8.keep_float, folder),
        *without_int8(artifacts, folder),
        *notes_of_target_files(folder, stages),
        *unmeasured(stages, device),
        *_of_frames(recipe, stages),
    )
    return replace(
        ledger,
        artifacts=summaries,
        gates=tuple(gates),
        apps=rows,
        failed_stages=tuple(failed),
        notes=notes,
        not_run=tuple(not_run),
    )


def _of_frames(recipe: Recipe, stages: Container[Stage]) -> Iterator[str]:
    """Say why files of 8 bits are further from the reference where they scale frames."""
    files = [stage.file for stage in (Stage.TFLITE_INT8, Stage.ONNX_INT8) if stage in stages]
    if recipe.input.frame and files and any(step > 1 for _start, step in recipe.input.frame_parts or ()):
        verb = "rounds" if len(files) == 1 else "round"
        yield (
            f"{' and '.join(files)} {verb} the picture to whole levels after each pass of scaling, as Pillow does, and "
            "the reference does not round: part of the difference is that."
        )


def _measure_apps(
    asked: Sequence[str],
    recipe: Recipe,
    evaluation: Evaluation,
    stages: Mapping[Stage, Opener],
    reference: nn.Module,
    truth: Arrays,
    progress: Progress,
) -> tuple[tuple[AppRow, ...], list[GateResult]]:
    """Give the float32 file what apps make of the pictures, and hold that to the gates; the reference without one."""
    gated, stage = recipe.gates.app or {}, Stage.TFLITE_FLOAT32
    opener, file = (stages[stage], stage.file) if stage in stages else (lambda: TorchRuntime(reference), "reference")
    wanted = {*asked, *(gated if evaluation.pictures else ())}
    names = [name for name in APPS if name in wanted]
    rows = tuple(measure_apps(names, recipe, evaluation, opener(), truth, file, progress)) if names else ()
    return rows, list(check_apps(rows, gated, file))


def unmeasured(stages: Container[Stage], device: OnDevice | None) -> Iterator[str]:
    """Say which of some stages' files a device leaves out, and why."""
    for stage, why in (device.left if device else {}).items():
        if stage.on_host in stages:
            yield f"{stage} is not measured: {why}."


def _check_gates(artifacts: Mapping[str, Inspection], recipe: Recipe) -> Iterator[GateResult]:
    for form, gate in recipe.gates.files.items():
        file = FORM_STAGES[form].file
        if file in artifacts:
            yield from check_gate(file, artifacts[file], gate)
