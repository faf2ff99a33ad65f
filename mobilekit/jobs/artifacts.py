"""All files of a bundle that are made of its rewritten model: an export makes them, and a rebuild makes them again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.fx import GraphModule

from mobilekit.artifacts.inspect import say_input
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.open import open_artifact, why_not_run
from mobilekit.convert.alignment import align
from mobilekit.convert.installed import imported
from mobilekit.convert.model_metadata import described
from mobilekit.convert.pipeline import convert
from mobilekit.convert.process import one_process
from mobilekit.errors import ToolError
from mobilekit.jobs.beside import Beside
from mobilekit.models.build import save_state
from mobilekit.parity.ledger.format_error import Ranges
from mobilekit.parity.ledger.simulation import Simulation
from mobilekit.parity.ranges.lint import lint
from mobilekit.parity.ranges.result import RangeLint
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import Rewritten
from mobilekit.store import bundle as bundles
from mobilekit.store.cache import Cache
from mobilekit.store.files import write_json
from mobilekit.store.manifest import FailedStage
from mobilekit.store.stages import FORM_STAGES, Stage

Progress = Callable[[str], None]
Simulate = Callable[[Ranges | None, Progress], Simulation]
"""Runs the models, given the ranges of their steps where these are known, and tells what it does."""


@dataclass(frozen=True)
class Made:
    """What was made beside the files."""

    ranges: RangeLint
    """What float16 and int8 will do to the activations."""
    failed: tuple[FailedStage, ...]
    """Stages that could not be made, opened or run, and those made from them: their files are not there."""
    simulation: Simulation | None = None
    """What `simulate` gave."""


def make_artifacts(
    folder: Path,
    rewritten: Rewritten,
    recipe: Recipe,
    calibration: Calibration,
    cache: Cache,
    progress: Progress,
    strict: bool = False,
    simulate: Simulate | None = None,
    jobs: int = 1,
) -> Made:
    """Write all files that are made of a rewritten model into `folder`, which has a subfolder `stages`.

    Args:
        folder: Where to write.
        rewritten: The model.
        recipe: Says what is made.
        calibration: For int8, and for what is said of ranges.
        cache: Has what was made before.
        progress: Is told what goes on.
        strict: Leave nothing where a file cannot be made, opened or run.
        simulate: Does with the models what needs no file.
        jobs: With 2 or more, ranges are recorded and the models run while another process converts.

    Raises:
        ToolError: The ONNX file, of which all others are made, cannot be made; or, with `strict`, any file.
    """
    save_state(rewritten.graph, folder / Stage.REWRITTEN.file)
    scratch = folder / "scratch"
    scratch.mkdir()
    aside = Beside(lambda tell: _run_models(rewritten.graph, recipe, calibration, simulate, tell), progress, jobs > 1)
    with one_process(scratch, imported() if jobs > 1 else ()):
        converted = convert(folder, scratch, rewritten.graph, recipe, calibration, cache, progress, aside)
    shutil.rmtree(scratch)
    errors = converted.failed | run_once(folder, recipe)
    if strict and errors:
        raise next(iter(errors.values()))
    failed = _without_failed(folder, recipe, errors)
    _describe(folder, recipe)
    path = folder / Stage.TFLITE_FLOAT32.file
    if path.exists():
        owners = converted.owners or align(rewritten.graph, path, random_inputs(recipe, count=recipe.input.batch))
        write_json(folder / bundles.MODULES, owners.to_json())
    report, ranges, simulation = aside.result()
    if ranges is not None:
        write_json(folder / bundles.RANGES, ranges)
    return Made(report, failed, simulation)


def _describe(folder: Path, recipe: Recipe) -> None:
    """Put into the ONNX files what the recipe says of its input, and into each TFLite file also what of its outputs."""
    onnx, layouts = folder / Stage.ONNX_SIMPLIFIED.file, bundles.output_layouts(folder)
    say_input(onnx, recipe.input)
    order = [each.name for each in read_onnx(onnx).graph.output]
    for stage in (FORM_STAGES[form] for form in recipe.precision):
        path = folder / stage.file
        if path.exists() and stage.file_format == "onnx":
            say_input(path, recipe.input)
        elif path.exists() and stage.file_format == "tflite":
            path.write_bytes(described(path.read_bytes(), recipe, layouts, order))


def _run_models(
    graph: GraphModule, recipe: Recipe, calibration: Calibration, simulate: Simulate | None, tell: Progress
) -> tuple[RangeLint, Ranges | None, Simulation | None]:
    """Return what the ranges warn of, the ranges for integers where they are needed, and what was simulated."""
    tell("recording the ranges of the activations")
    report, ranges = _ranges(graph, recipe, calibration)
    return report, ranges, simulate(ranges, tell) if simulate else None


def _ranges(graph: GraphModule, recipe: Recipe, calibration: Calibration) -> tuple[RangeLint, Ranges | None]:
    """Return what the ranges warn of, and those for integers; the rest of the recording, some tens of MB, is let go."""
    report, recording = lint(graph, calibration.arrays, recipe)
    return report, recording.ranges if recipe.is_calibrated else None


def run_once(folder: Path, recipe: Recipe) -> dict[Stage, ToolError]:
    """Open each file that a recipe asks for and that is there, run it on one input, and return what cannot be.

    What this machine does not run is left alone.
    """
    inputs, layouts, errors = random_inputs(recipe, count=1), bundles.output_layouts(folder), {}
    for stage in (FORM_STAGES[form] for form in recipe.precision):
        if (folder / stage.file).exists() and not why_not_run(stage):
            try:
                open_artifact(folder / stage.file, layouts).run(inputs)
            except ToolError as error:
                errors[stage] = error
    return errors


def _without_failed(folder: Path, recipe: Recipe, errors: Mapping[Stage, ToolError]) -> tuple[FailedStage, ...]:
    """Remove the files of the stages that failed and of those made from them, and return all these."""
    failed: dict[Stage, FailedStage] = {}
    for stage in (FORM_STAGES[form] for form in FORM_STAGES if form in recipe.precision):
        source = stage.predecessor
        if source in failed:
            failed[stage] = FailedStage(stage, f"it is made from {source}, which failed", follows=source)
        elif stage in errors:
            what = " ".join(errors[stage].what.split()).rstrip(".")
            failed[stage] = FailedStage(stage, what, errors[stage].hint)
    for path in (folder / stage.file for stage in failed):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    return tuple(failed.values())
