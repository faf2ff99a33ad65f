"""The main job: from a reference model and a recipe to a bundle of proven artifacts."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.artifacts.inspect import artifact_entries, extra_input_entries, input_entry
from mobilekit.errors import ToolError, UsageError, nearest
from mobilekit.jobs.artifacts import make_artifacts
from mobilekit.jobs.diff import measure_folder
from mobilekit.models.build import build_reference, check_inputs, effective_options, save_state
from mobilekit.models.inputs import resized
from mobilekit.models.names import file_spec
from mobilekit.models.registry import ModelEntry
from mobilekit.models.user import resolve
from mobilekit.models.weights import weights_digest
from mobilekit.parity.ledger.float_nodes import nodes_inside
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.recipes.inputs.user_data import own_files
from mobilekit.recipes.load import DEFAULT, LoadedRecipe, recipe_for
from mobilekit.recipes.schema import Input, Recipe
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.plugins import sources_of
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import INPUT, Bundle, find_changes, open_bundle, write_manifest
from mobilekit.store.cache import Cache
from mobilekit.store.files import sha256_of, sha256_of_json, whole_folder, write_json
from mobilekit.store.stages import PRECISIONS, Stage
from mobilekit.store.versions import BUNDLE_ROOMS, source_digest, tool_versions

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how."""

    model: str
    recipe: LoadedRecipe
    output: Path
    weights: Path | None = None
    calibration: Path | None = None
    """Folder of pictures, or .npz; without one, the recipe's built-in data."""
    force: bool = False
    """Replace a bundle that exists."""


@dataclass(frozen=True)
class Exported:
    """The bundle, and whether it was there already."""

    bundle: Bundle
    up_to_date: bool = False
    from_cache: bool = False


def recipe_of(model: str) -> LoadedRecipe:
    """Return the recipe that a model uses where none is named; timm's models bring their own preprocessing."""
    loaded, own = recipe_for(model), resolve(model).preprocessing
    if loaded.name != DEFAULT or not own:
        return loaded
    spec = Input.model_validate({**loaded.recipe.input.model_dump(), **own})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"input": spec}))


def adjust(
    loaded: LoadedRecipe,
    input_size: int | None = None,
    num_classes: int | None = None,
    precision: Sequence[str] | None = None,
    rewrites: bool = True,
) -> LoadedRecipe:
    """Return a recipe with some of its parts set anew; None leaves a part as it is.

    Raises:
        UsageError: A value is wrong.
    """
    recipe = loaded.recipe
    changes: dict[str, Any] = {}
    if input_size is not None:
        if not 8 <= input_size <= 4096:
            raise UsageError(f"The input size is {input_size}, not between 8 and 4096.")
        changes |= _resize(recipe, input_size)
    if num_classes is not None:
        if num_classes < 1:
            raise UsageError(f"The number of classes is {num_classes}, not positive.")
        changes["model_options"] = {**recipe.model_options, "num_classes": num_classes}
    if precision is not None:
        unknown = [word for word in precision if word not in PRECISIONS]
        if unknown or not precision:
            word = unknown[0] if unknown else "nothing"
            raise UsageError(f"The precision names {word}.", nearest(word, PRECISIONS))
        changes["precision"] = tuple(name for name in PRECISIONS if name in precision)
    if not rewrites:
        changes["rewrites"] = ()
    return replace(loaded, recipe=recipe.model_copy(update=changes))


def _resize(recipe: Recipe, size: int) -> dict[str, Any]:
    """Return the recipe's inputs with pictures of another size; extra inputs of the picture's size follow it."""
    picture = recipe.input.model_copy(update={"size": size})
    shapes = resized(recipe.shapes, picture.shape)
    extras = {
        name: extra.model_copy(update={"shape": shapes[name]}) if extra.shape else extra
        for name, extra in recipe.extra_inputs.items()
    }
    return {"input": picture, "extra_inputs": extras}


def export(request: ExportRequest, cache: Cache, progress: Progress = lambda _message: None) -> Exported:
    """Export a model: rewrite it, convert it, measure every stage, and close the bundle.

    A bundle whose parity failed is closed too, with the verdict in its ledger, so that it can be looked into. Anything
    else that fails leaves nothing behind.

    Raises:
        UsageError: The request cannot be carried out.
        GateError: A rewrite's proof failed.
        ToolError: A converter or runtime failed, or the disk is full.
    """
    entry = resolve(request.model)
    recipe = request.recipe.recipe
    steps_of(request.recipe)
    model = check_inputs(entry, recipe.model_options, recipe.shapes)
    digest = _request_digest(request)
    existing = _existing(request, digest)
    if existing:
        return Exported(existing, up_to_date=True)
    _check_space(model, request)
    with whole_folder(request.output, replace=request.force) as folder:
        from_cache = cache.take(digest, folder)
        if not from_cache:
            _fill(folder, entry, request, digest, cache, progress)
            cache.put(digest, folder, [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()])
    return Exported(open_bundle(request.output), from_cache=from_cache)


def _fill(
    folder: Path, entry: ModelEntry, request: ExportRequest, digest: str, cache: Cache, progress: Progress
) -> None:
    """Make all files of the bundle in `folder`."""
    recipe = request.recipe.recipe
    progress("reading calibration inputs")
    calibration = read_calibration(recipe, request.calibration)
    options = effective_options(entry, recipe.model_options, recipe.input.size)
    tensors = {name: torch.from_numpy(array) for name, array in calibration.arrays.items()}
    reference = build_reference(entry, options, request.weights, tensors)
    rewritten = rewrite(reference.model, request.recipe, tensors, progress=progress)
    nodes_inside(rewritten.graph, recipe.int8.float_modules)  # to refuse a wrong path before the work

    (folder / "stages").mkdir()
    save_state(reference.model, folder / Stage.REFERENCE.file)
    ranges = make_artifacts(folder, rewritten, recipe, calibration, cache, progress)

    content = {
        "format": 1,
        "request": digest,
        "model": {
            "name": entry.name,
            "options": options,
            "weights": {
                "source": reference.weights_source,
                "trained": reference.is_trained,
                "sha256": weights_digest(reference.model),
            },
        },
        "recipe": {"name": request.recipe.name, "content": recipe.model_dump(mode="json")},
        "precision": list(recipe.precision),
        "calibration": {
            "source": str(request.calibration.name) if request.calibration else f"built-in {recipe.data}",
            "count": len(calibration.arrays[INPUT]),
            "sha256": calibration.digest,
        },
        "tools": tool_versions(),
        "input": input_entry(recipe.input),
        **({"extra_inputs": extra_input_entries(recipe)} if recipe.extra_inputs else {}),
        "artifacts": artifact_entries(folder),
    }
    ledger = measure_folder(
        folder,
        recipe,
        reference.model,
        rewritten.graph,
        steps=rewritten.steps,
        progress=progress,
        is_trained=reference.is_trained,
    )
    write_json(folder / bundles.LEDGER, {**ledger.to_json(), "ranges": ranges.to_json()})
    write_manifest(folder, content)


def _request_digest(request: ExportRequest) -> str:
    """Return the digest of all that decides what the bundle holds."""
    if request.weights and not request.weights.is_file():
        raise UsageError(f"There is no weights file {request.weights}.")
    files = own_files(request.calibration) if request.calibration else []
    code = file_spec(request.model)
    return sha256_of_json(
        {
            "model": request.model,
            "recipe": request.recipe.recipe.model_dump(mode="json"),
            "recipe_name": request.recipe.name,
            "inputs": list(request.recipe.recipe.shapes),  # in their order, which the digest of the recipe leaves out
            "code": sha256_of(code[0]) if code else None,
            "weights": sha256_of(request.weights) if request.weights else None,
            "calibration": [sha256_of(path) for path in files[: request.recipe.recipe.calibration.count]],
            "installed_rewrites": sources_of([step.name for step in request.recipe.recipe.rewrites]),
            "tools": tool_versions(),
            "source": source_digest(BUNDLE_ROOMS),
        }
    )


def _existing(request: ExportRequest, digest: str) -> Bundle | None:
    """Return the bundle that is there if it is the one asked for.

    Raises:
        UsageError: Something else is there, and it may not or should not be replaced.
    """
    output = request.output
    blocked = next((parent for parent in output.absolute().parents if parent.exists() and not parent.is_dir()), None)
    if blocked:
        raise UsageError(f"{blocked} is a file, so {output} cannot be made.", "Choose another place with -o.")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    if not (output / bundles.MANIFEST).is_file():
        raise UsageError(f"{output} exists and is not a bundle.", "Choose another place with -o.")
    what = "another export"
    with suppress(UsageError):  # a damaged bundle is one to replace
        found = open_bundle(output)
        if found.manifest.get("request") == digest:
            changes = find_changes(output)
            if not changes:
                return found
            what = f"this export, changed since ({changes[0]})"
    if not request.force:
        raise UsageError(
            f"{output} holds {what}; it is kept.", "Replace it with --force, or choose another place with -o."
        )
    return None


def _check_space(model: nn.Module, request: ExportRequest) -> None:
    """Refuse to start where the bundle and the converters' scratch files cannot fit.

    Raises:
        ToolError: The disk has too little room.
    """
    weights = sum(tensor.numel() * 4 for tensor in model.state_dict().values())
    recipe = request.recipe.recipe
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
