"""Measure the values inside a bundle's model at every stage, through a tapped copy of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.on_device import OnDevice
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.convert.pipeline import convert
from mobilekit.errors import UsageError, nearest
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.measure import file_stages, unmeasured
from mobilekit.jobs.target_files import write_target_files
from mobilekit.models.inputs import zeros
from mobilekit.parity.layers.counterparts import find_counterparts
from mobilekit.parity.layers.layers import TappedStage, measure_layers, tapped_values
from mobilekit.parity.layers.result import Counterpart, Layers
from mobilekit.parity.layers.simulated import simulations
from mobilekit.parity.layers.taps import Tap, find_taps, tapped
from mobilekit.parity.ledger.result import MeasuredOn
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.calibration import Calibration, read_calibration
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import Cache
from mobilekit.store.manifest import was_own
from mobilekit.store.stages import FORM_STAGES, Stage, stage_in

MOST_INPUTS = 16
"""The values inside are large, and their errors much the same on every input."""
_SEEN = ("tflite", "pte")
"""Formats of the files that are looked into, beside the ONNX files that they come from."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LayersRequest:
    """What to look into, and on what."""

    bundle: Bundle
    inputs: Path | None = None
    """A folder of pictures, or an .npz; without, the recipe's built-in evaluation data."""
    reference: str | None = None
    """`FILE.py:FACTORY`, for a bundle that was exported from one."""
    calibration: Path | None = None
    """What the bundle was calibrated on, where that was not built-in data."""
    precision: Sequence[str] | None = None
    """Of the bundle's files for LiteRT and ExecuTorch; all of them without. What one was made from is always there."""
    device: OnDevice | None = None
    """Runs the files as well; each has a stage there then."""


def layers(request: LayersRequest, cache: Cache, progress: Progress = lambda _message: None) -> Layers:
    """Convert a tapped copy of a bundle's rewritten model, and compare the values inside at every stage.

    Raises:
        UsageError: The inputs, the calibration or the precisions do not fit the bundle.
        ToolError: A converter or runtime failed.
    """
    bundle = request.bundle
    loaded = recipe_of_bundle(bundle)
    notes: list[str] = []
    calibration, recipe = _prepare(request, _one_by_one(loaded.recipe), notes)
    evaluation = _few(read_evaluation(recipe, request.inputs), notes)
    progress("rebuilding the model")
    models = _tap(bundle, loaded, recipe, evaluation, request.reference)
    with TemporaryDirectory(prefix="mobilekit-layers-") as name:
        folder = Path(name)
        (folder / "stages").mkdir()
        (folder / "scratch").mkdir()
        convert(folder, folder / "scratch", models.copy, recipe, calibration, cache, progress).check()
        stages = {
            Stage.REFERENCE: TappedStage(
                lambda: TorchRuntime(models.tapped_reference), lambda: TorchRuntime(models.reference)
            ),
            Stage.REWRITTEN: TappedStage(lambda: TorchRuntime(models.copy), lambda: TorchRuntime(models.rewritten)),
            **artifact_stages(folder, bundle.path, recipe, request.device),
        }
        formats = simulations(models.copy, stages, recipe.int8, bundles.calibrated_ranges(bundle.path))
        measured = measure_layers(stages, formats, models.taps, evaluation.inputs, progress)
    notes += unmeasured(stages, request.device)
    taps = tapped_values(models.taps, models.counterparts)
    return Layers(MeasuredOn(evaluation.name, evaluation.count), taps, measured, tuple(notes))


def _one_by_one(recipe: Recipe) -> Recipe:
    """Return a recipe whose files take one input at a time: values inside need not have a row for each."""
    return recipe.model_copy(update={"input": recipe.input.model_copy(update={"batch": 1})})


@dataclass(frozen=True)
class _Models:
    """A bundle's models, with their tapped copies."""

    reference: nn.Module
    tapped_reference: GraphModule
    rewritten: GraphModule
    copy: GraphModule
    """The tapped rewritten one."""
    taps: list[Tap]
    counterparts: dict[str, Counterpart]


def _tap(
    bundle: Bundle, loaded: LoadedRecipe, recipe: Recipe, evaluation: Evaluation, reference: str | None
) -> _Models:
    """Build a bundle's models, and tap them where the same quantities are."""
    model, rewritten = models_of_bundle(bundle, loaded, reference, keep_exact=True)
    assert rewritten.exact is not None
    examples = zeros(recipe.shapes)
    taps = find_taps(rewritten.graph, examples)
    traced = trace(model, examples)
    first = {name: torch.from_numpy(array[:1]) for name, array in evaluation.inputs.items()}
    changes = any(step.applied and not step.exactness.is_proved for step in rewritten.steps)
    counterparts = find_counterparts(taps, rewritten.exact, traced, first, changes)
    inside = {tap.name: tap.node.name for tap in taps if not tap.is_output}
    known = {name: counterparts[name].step for name in inside if name in counterparts}
    return _Models(
        model,
        tapped(traced, known, examples),
        rewritten.graph,
        tapped(rewritten.graph, inside, examples),
        taps,
        counterparts,
    )


def artifact_stages(
    tapped_folder: Path, folder: Path, recipe: Recipe, device: OnDevice | None = None
) -> dict[Stage, TappedStage]:
    """Return the stages that are files, each with its tapped copy, and behind it the same file on a device.

    Args:
        tapped_folder: Where the tapped copies are, with their layouts.
        folder: The bundle's.
        recipe: Its precisions are there.
        device: Where they run as well.
    """
    inner, outer = bundles.output_layouts(tapped_folder), bundles.output_layouts(folder)
    places = ((tapped_folder, inner), (folder, outer))
    stages = {}
    if device:
        write_target_files(tapped_folder, file_stages(recipe), device.place)
    for stage in file_stages(recipe):
        stages[stage] = TappedStage(*(partial(open_artifact, at / stage.file, layouts) for at, layouts in places))
        there = stage_in(device.place, stage) if device else None
        if device and there and there not in device.left:
            files = [(bundles.file_on(at, stage, device.place), layouts) for at, layouts in places]
            stages[there] = TappedStage(*(partial(device.open, there, *each) for each in files))
    return stages


def _prepare(request: LayersRequest, recipe: Recipe, notes: list[str]) -> tuple[Calibration | None, Recipe]:
    """Return what integers are calibrated on, and the recipe with the precisions that can be measured."""
    there = [form for form in request.bundle.forms if FORM_STAGES[form].file_format in _SEEN]
    wanted = list(request.precision) if request.precision is not None else there
    unknown = [word for word in wanted if word not in there]
    if unknown:
        raise UsageError(f"{request.bundle.path} has no precision {unknown[0]}.", nearest(unknown[0], there))
    sources = {FORM_STAGES[form].predecessor for form in there if form in wanted}
    kept = [form for form in there if form in wanted or FORM_STAGES[form] in sources]
    calibration = None
    if calibrated := [form for form in kept if FORM_STAGES[form].is_calibrated]:
        calibration = _calibration(request, recipe, " and ".join(calibrated), notes)
        kept = [form for form in kept if form not in calibrated or calibration]
    return calibration, recipe.model_copy(update={"precision": tuple(kept)})


def _calibration(request: LayersRequest, recipe: Recipe, named: str, notes: list[str]) -> Calibration | None:
    """Return the inputs that the bundle was calibrated on, told by their digest; None, with a note, without them.

    Raises:
        UsageError: The inputs given are others.
    """
    written = request.bundle.manifest["calibration"]
    if request.calibration is None and was_own(written):
        notes.append(
            f"{named} is left out: it was calibrated on {written['source']}, which a bundle does not hold; "
            "give it with --calibration."
        )
        return None
    found = read_calibration(recipe, request.calibration)
    if found.digest == written["sha256"]:
        return found
    if request.calibration is not None:
        raise UsageError(
            f"{request.calibration} is not what {request.bundle.path} was calibrated on ({written['source']}).",
            f"Give the same inputs as at the export, or leave {named} out with --precision.",
        )
    notes.append(f"{named} is left out: the built-in calibration inputs are not those of the export; export again.")
    return None


def _few(evaluation: Evaluation, notes: list[str]) -> Evaluation:
    if evaluation.count <= MOST_INPUTS:
        return evaluation
    notes.append(f"Measured on the first {MOST_INPUTS} of {evaluation.count} inputs.")
    few = {name: array[:MOST_INPUTS] for name, array in evaluation.inputs.items()}
    return Evaluation(evaluation.name, few)
