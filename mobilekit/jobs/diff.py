"""Measure a bundle's stages against each other and the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from mobilekit.artifacts.inspect import artifact_summary, inspect
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Runtime
from mobilekit.errors import UsageError
from mobilekit.models.build import load_state
from mobilekit.models.names import file_spec
from mobilekit.models.user import resolve
from mobilekit.parity.ledger.gates import GateResult, check_gate
from mobilekit.parity.ledger.ledger import Ledger, Opener, measure
from mobilekit.recipes.inputs.builtin import Evaluation, evaluation_inputs
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.inputs.user_data import load_own
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.report import StepReport
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import Bundle
from mobilekit.store.stages import Stage, device_stage, tflite_stage

Progress = Callable[[str], None]
OpenOnDevice = Callable[[Path, Mapping[str, str]], Runtime]


def diff(
    bundle: Bundle,
    inputs: Path | None = None,
    progress: Progress = lambda _message: None,
    reference: str | None = None,
    device: OpenOnDevice | None = None,
) -> Ledger:
    """Measure every stage of a bundle anew.

    Args:
        bundle: The bundle; its reference is the one it was exported from.
        inputs: A folder of pictures, or an .npz with preprocessed arrays by the names of the inputs (`input`: float32,
            N x C x H x W) and perhaps `labels`; without, the recipe's built-in evaluation data.
        progress: Is told what goes on.
        reference: Names the model anew. A bundle of `FILE.py:FACTORY` needs it: opening a folder must not run code
            that only the folder names.
        device: Opens a TFLite file on a device, given the layouts of its outputs; each file has a stage there then.

    Raises:
        UsageError: The inputs cannot be used, or the bundle's model or recipe is unknown here.
        ToolError: An artifact cannot be run.
    """
    loaded = recipe_of(bundle)
    recipe = loaded.recipe
    evaluation = load_evaluation(inputs, recipe) if inputs else evaluation_inputs(recipe)
    model, rewritten = models_of(bundle, loaded, reference)
    is_trained = bundle.manifest["model"]["weights"].get("trained", True)
    steps = rewritten.steps
    return measure_folder(bundle.path, recipe, model, rewritten.graph, evaluation, steps, progress, is_trained, device)


def models_of(
    bundle: Bundle, loaded: LoadedRecipe, reference: str | None = None, keep_exact: bool = False
) -> tuple[nn.Module, Rewritten]:
    """Return a bundle's reference model and its rewritten one, both with the weights in the bundle.

    Args:
        bundle: The bundle.
        loaded: Its recipe.
        reference: Names the model anew.
        keep_exact: Keep a copy of the rewritten one whose weights are not yet rounded.

    Raises:
        UsageError: The bundle's model is unknown here, or is code that `reference` does not name.
    """
    model = reference_of(bundle, reference)
    rewritten = rewrite(model, loaded, prove=False, keep_exact=keep_exact)
    try:
        load_state(rewritten.graph, bundle.path / Stage.REWRITTEN.file)
    except RuntimeError as error:
        raise UsageError(
            f"{bundle.path / Stage.REWRITTEN.file} does not hold the weights of what this version's rewrites make.",
            "It was changed since the export, or another version wrote it: export the model again.",
        ) from error
    return model, rewritten


def reference_of(bundle: Bundle, name: str | None) -> nn.Module:
    """Build a bundle's reference model, and fill it with the weights in the bundle.

    Args:
        bundle: The bundle.
        name: Names the model anew, as `diff` has it.

    Raises:
        UsageError: The model is code that was not named, or is another one.
    """
    spec = bundle.manifest["model"]
    if name is None and file_spec(spec["name"]):
        raise UsageError(
            f"{bundle.path} was exported from the code {spec['name']}, which is not run unless you name it.",
            f"Add --reference {spec['name']}",
        )
    entry = resolve(name or spec["name"])
    try:
        model = entry.create(**spec["options"])
        load_state(model, bundle.path / Stage.REFERENCE.file)
    except (RuntimeError, TypeError, ValueError) as error:  # other weights, or options that it does not take
        raise UsageError(
            f"{name or spec['name']} is not the model that {bundle.path} was exported from.",
            "Name that one with --reference, or export the model again.",
        ) from error
    return model


def recipe_of(bundle: Bundle) -> LoadedRecipe:
    """Return the recipe in a bundle's manifest.

    Raises:
        UsageError: This version of mobilekit does not understand it.
    """
    written = bundle.manifest.get("recipe", {})
    try:
        return LoadedRecipe(str(written.get("name")), Recipe.model_validate(written.get("content")))
    except ValidationError as error:
        version = bundle.manifest.get("tools", {}).get("mobilekit", "another version")
        raise UsageError(
            f"{bundle.path} was exported by mobilekit {version}, whose recipe this version does not understand.",
            "Export the model again.",
        ) from error


def file_stages(recipe: Recipe) -> list[Stage]:
    """Return the stages that are files in a bundle of this recipe, in the order of the conversion."""
    return [Stage.ONNX, Stage.ONNX_SIMPLIFIED, *(tflite_stage(precision) for precision in recipe.precision)]


def measure_folder(
    folder: Path,
    recipe: Recipe,
    reference: nn.Module,
    rewritten: nn.Module,
    evaluation: Evaluation | None = None,
    steps: Iterable[StepReport] = (),
    progress: Progress = lambda _message: None,
    is_trained: bool = True,
    device: OpenOnDevice | None = None,
) -> Ledger:
    """Open and run each artifact in a folder, and compare it."""
    stages: dict[Stage, Opener] = {
        Stage.REFERENCE: lambda: TorchRuntime(reference),
        Stage.REWRITTEN: lambda: TorchRuntime(rewritten),
    }
    layouts = bundles.output_layouts(folder)
    for stage in file_stages(recipe):
        stages[stage] = lambda path=folder / stage.file: open_artifact(path, layouts)  # type: ignore[misc]
        if device and stage.file_format == "tflite":
            on_device = device_stage(stage.precision)
            stages[on_device] = lambda path=folder / stage.file: device(path, layouts)  # type: ignore[misc]
    ledger = measure(
        stages,
        recipe,
        evaluation or evaluation_inputs(recipe),
        random_inputs(recipe),
        steps,
        lambda stage: progress(f"measuring {stage}"),
        bundles.calibrated_ranges(folder),
        is_trained,
    )
    files = [stage.file for stage in file_stages(recipe) if stage is not Stage.ONNX]
    artifacts = {name: artifact_summary(folder / name) for name in files}
    return replace(ledger, artifacts=artifacts, gates=tuple(_check_gates(folder, recipe)))


def _check_gates(folder: Path, recipe: Recipe) -> Iterator[GateResult]:
    for precision, gate in recipe.gates.items():
        path = folder / tflite_stage(precision).file
        if precision in recipe.precision:
            yield from check_gate(path.name, inspect(path), gate)


def load_evaluation(path: Path, recipe: Recipe) -> Evaluation:
    """Read the user's own inputs: pictures in folders or in a CSV, or an .npz file.

    Raises:
        UsageError: The file is no .npz, an input is missing or does not fit, or labels do not belong to the inputs.
    """
    own = load_own(path, recipe)
    return Evaluation(str(path), own.arrays, own.labels, own.classes, is_own=True)
