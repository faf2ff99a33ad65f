"""The files of a bundle: a model is built, rewritten, proved, converted, and measured."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from mobilekit.errors import ToolError
from mobilekit.jobs.artifacts import make_artifacts
from mobilekit.jobs.build import Opened
from mobilekit.jobs.given import TellGiven, assumed, given_of
from mobilekit.jobs.manifest import calibrated_on, manifest_content
from mobilekit.jobs.measure import file_stages, inspect_files, measure_folder
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.target_files import write_target_files
from mobilekit.models.batches import check_batch
from mobilekit.models.build import save_state
from mobilekit.parity.ledger.float_nodes import nodes_inside
from mobilekit.parity.ledger.format_error import Ranges
from mobilekit.parity.ledger.ledger import check_evaluation
from mobilekit.parity.ledger.simulation import Simulation, simulate
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import write_manifest
from mobilekit.store.cache import Cache
from mobilekit.store.files import write_json
from mobilekit.store.manifest import FailedStage
from mobilekit.store.stages import Stage

Progress = Callable[[str], None]


def fill_bundle(
    folder: Path,
    opened: Opened,
    digest: str,
    cache: Cache,
    progress: Progress,
    tell_given: TellGiven,
    request: ExportRequest,
) -> tuple[FailedStage, ...]:
    """Make all files of the bundle in `folder`, and return what could not be made."""
    built = opened.fill(progress)
    source, recipe = built.source, built.source.recipe.recipe
    reference, calibration = built.reference, built.calibration
    evaluation = read_evaluation(recipe, source.inputs)
    names = () if recipe.output.detections else recipe.labels  # of a detector they name values
    check_evaluation(evaluation, reference.model, names)
    given = given_of(source)
    tell_given(given)
    rewritten = built.rewritten(progress=progress)
    check_batch(rewritten.graph, source.model, recipe.input.batch)
    nodes_inside(rewritten.graph, recipe.int8.float_modules)  # to refuse a wrong path before the work

    (folder / "stages").mkdir()
    save_state(reference.model, folder / Stage.REFERENCE.file)

    def run_models(ranges: Ranges | None, tell: Progress) -> Simulation:
        random, exact = random_inputs(recipe), rewritten.reference
        return simulate(reference.model, rewritten.graph, recipe, evaluation, random, ranges, exact, tell)

    jobs = request.jobs or min(2, os.cpu_count() or 1)
    made = make_artifacts(folder, rewritten, recipe, calibration, cache, progress, request.strict, run_models, jobs)

    for target, gate in (recipe.gates.targets or {}).items():
        write_target_files(folder, filter(gate.holds, file_stages(recipe, made.failed)), target)
    artifacts = inspect_files(folder, recipe, made.failed)
    ledger = measure_folder(
        folder,
        recipe,
        reference.model,
        rewritten,
        evaluation,
        progress=progress,
        is_trained=reference.is_trained,
        artifacts=artifacts,
        failed=made.failed,
        simulation=made.simulation,
    )
    used = calibrated_on(folder, built) if recipe.is_calibrated else None
    notes = tuple(dict.fromkeys((*ledger.notes, *calibration.notes)))
    ledger = replace(ledger, ranges=made.ranges, assumed=assumed(given), calibration=used, notes=notes)
    write_json(folder / bundles.LEDGER, ledger.to_json())
    write_manifest(folder, manifest_content(folder, built, digest, artifacts, made.failed, given))
    return made.failed


def check_space(model: nn.Module, request: ExportRequest) -> None:
    """Refuse to start where the bundle and the converters' scratch files cannot fit.

    Raises:
        ToolError: The disk has too little room.
    """
    weights = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    recipe = request.source.recipe.recipe
    inputs = sum(math.prod(shape) for shape in recipe.shapes.values()) * 4 * recipe.calibration.count
    # Reference, rewritten, two ONNX files, a copy, a SavedModel, and the four precisions: 8 times the weights.
    needed = 9 * weights + inputs + 16 * 2**20
    place = next(parent for parent in request.output.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ToolError(
            f"{place} has {free / 2**20:.0f} MB free, and the export needs about {needed / 2**20:.0f} MB.",
            "Make room, or choose another place with -o.",
        )
