"""The main job: from a reference model and a recipe to a bundle of proven artifacts."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from mobilekit.convert.installed import check_installed, tools_of
from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.artifacts import make_artifacts
from mobilekit.jobs.given import assumed, given_of
from mobilekit.jobs.manifest import calibrated_on, manifest_content
from mobilekit.jobs.measure import file_stages, inspect_files, measure_folder
from mobilekit.jobs.source import Opened, Source, open_source
from mobilekit.jobs.target_files import write_target_files
from mobilekit.jobs.target_gates import check_named
from mobilekit.models.build import save_state
from mobilekit.models.inputs import zeros
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED, file_spec, is_registered
from mobilekit.models.outputs import check_batch
from mobilekit.models.weights import weights_digest
from mobilekit.parity.ledger.float_nodes import nodes_inside
from mobilekit.parity.ledger.format_error import Ranges
from mobilekit.parity.ledger.ledger import check_evaluation
from mobilekit.parity.ledger.simulation import Simulation, simulate
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.inputs.user_data import digest_of_own, own_files
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.plugins import sources_of
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import Bundle, find_changes, open_bundle, refuse_inside_bundle, write_manifest
from mobilekit.store.cache import Cache
from mobilekit.store.files import sha256_of, sha256_of_json, whole_folder, write_json
from mobilekit.store.manifest import FailedStage, Given
from mobilekit.store.stages import Stage
from mobilekit.store.versions import BUNDLE_ROOMS, source_digest

Progress = Callable[[str], None]
TellGiven = Callable[[tuple[Given, ...]], None]


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how."""

    source: Source
    output: Path
    force: bool = False
    """Replace a bundle that exists, and make everything anew: nothing comes out of the cache."""
    strict: bool = False
    """Leave nothing where a file cannot be made, opened or run."""
    jobs: int | None = None
    """Processors to use at once: 1 takes less memory; without, 2 where there are as many."""


@dataclass(frozen=True)
class Exported:
    """The bundle, and whether it was there already."""

    bundle: Bundle
    up_to_date: bool = False
    from_cache: bool = False


def export(
    request: ExportRequest,
    cache: Cache,
    progress: Progress = lambda _message: None,
    tell_given: TellGiven = lambda _given: None,
) -> Exported:
    """Export a model: rewrite it, convert it, measure every stage, and close the bundle.

    A bundle whose parity failed is closed too, with the verdict in its ledger, so that it can be looked into; and so is
    one without a TFLite file that could not be made, opened or run, with the reason in its ledger. Anything else that
    fails leaves nothing behind.

    Args:
        request: What to export, and how.
        cache: Of earlier exports.
        progress: Is told what goes on.
        tell_given: Is told, as work starts, what the export is given and what it has to assume.

    Raises:
        UsageError: The request cannot be carried out.
        GateError: A rewrite's proof failed.
        ToolError: The ONNX file, of which all others are made, could not be made, the disk is full, or a converter is
            not installed; with `strict`, any file could not be made, opened or run.
    """
    # A model of mobilekit's own need not be built to know that it was exported.
    opened = None if is_registered(request.source.model) else open_source(request.source)
    digest = request_digest(request, opened)
    existing = None if request.force else _unchanged(request.output, digest)
    if existing:
        if request.strict:
            _check_whole(existing)
        return Exported(existing, up_to_date=True)
    opened = opened or open_source(request.source)
    _check_output(request, digest)
    check_installed()
    check_named(request.source.recipe)
    _check_space(opened.model, request)
    cache = cache.anew() if request.force else cache
    with whole_folder(request.output, replace=request.force) as folder:
        from_cache = cache.take(digest, folder)
        if not from_cache:
            failed = _fill(folder, opened, digest, cache, progress, tell_given, request)
            if not failed:  # what failed may well succeed another time
                names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
                cache.put(digest, folder, names)
    return Exported(open_bundle(request.output), from_cache=from_cache)


def _check_whole(bundle: Bundle) -> None:
    """Refuse a bundle that was there already, without a file that could not be made.

    Raises:
        ToolError: It is such a one.
    """
    for each in bundle.failed_stages:
        raise ToolError(
            f"{bundle.path} was exported without {each.stage}: {each.reason}.",
            "`mobilekit export ... --strict --force` tries again.",
        )


def _fill(
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


def request_digest(request: ExportRequest, opened: Opened | None = None) -> str:
    """Return the digest of all that decides what the bundle holds.

    Args:
        request: The request.
        opened: Its model. What a factory of the user's made has weights that may come from anywhere, and a library's
            is made of files.
    """
    source, recipe = request.source, request.source.recipe.recipe
    checkpoint = None if source.weights in (NO_WEIGHTS, PRETRAINED) else source.weights
    if checkpoint and not checkpoint.is_file():
        raise UsageError(f"There is no weights file {checkpoint}.")
    files = own_files(source.calibration) if source.calibration else []
    code = file_spec(source.model)
    return sha256_of_json(
        {
            "model": source.model,
            "recipe": recipe.model_dump(mode="json"),
            "recipe_name": source.recipe.name,
            "inputs": list(recipe.shapes),  # in their order, which the digest of the recipe leaves out
            "code": sha256_of(code[0]) if code else _digest_of_module(opened) if opened and source.module else None,
            "weights": sha256_of(checkpoint) if checkpoint else str(source.weights),
            "given": weights_digest(opened.model) if code and opened and source.weights is None else None,
            "library": [sha256_of(file) for file in opened.files] if opened else [],
            "calibration": [sha256_of(path) for path in files[: recipe.calibration.count]],
            "inputs_measured_on": digest_of_own(source.inputs) if source.inputs else None,
            "origins": [[each.what, each.origin] for each in given_of(source)],
            "installed_rewrites": sources_of([step.name for step in recipe.rewrites]),
            "tools": tools_of(recipe),
            "source": source_digest(BUNDLE_ROOMS),
        }
    )


def _digest_of_module(opened: Opened) -> str:
    """Return the digest of what a module of Python code computes: its graph, and all tensors in it."""
    graph = trace(opened.model, zeros(opened.source.recipe.recipe.network_shapes))
    return sha256_of_json([graph.code, weights_digest(graph)])


def _unchanged(output: Path, digest: str) -> Bundle | None:
    """Return the bundle that is there if it is the one asked for, and as it was written."""
    with suppress(UsageError):  # nothing is there, or what is damaged
        found = open_bundle(output)
        if found.manifest.get("request") == digest and not find_changes(output):
            return found
    return None


def _check_output(request: ExportRequest, digest: str) -> None:
    """Refuse a place where something else is that may not or should not be replaced.

    Raises:
        UsageError: It is such a one.
    """
    output = request.output
    refuse_inside_bundle(output)
    blocked = next((parent for parent in output.absolute().parents if parent.exists() and not parent.is_dir()), None)
    if blocked:
        raise UsageError(f"{blocked} is a file, so {output} cannot be made.", "Choose another place with -o.")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / bundles.MANIFEST).is_file():
        raise UsageError(f"{output} exists and is not a bundle.", "Choose another place with -o.")
    if not request.force:
        raise UsageError(
            f"{output} holds {_what_is_in(output, digest)}; it is kept.",
            "Replace it with --force, or choose another place with -o.",
        )


def _what_is_in(output: Path, digest: str) -> str:
    with suppress(UsageError):  # it is damaged
        if open_bundle(output).manifest.get("request") == digest:
            return f"this export, changed since ({find_changes(output)[0]})"
    return "another export"


def _check_space(model: nn.Module, request: ExportRequest) -> None:
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
