"""Measure a bundle's stages against each other and the reference."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from pydantic import ValidationError
from torch import nn

from mobilekit import bundle as bundles
from mobilekit.bundle import Bundle, tflite_name
from mobilekit.errors import UsageError
from mobilekit.inputs.builtin import Evaluation, evaluation_inputs, random_inputs
from mobilekit.inputs.preprocess import load_folder
from mobilekit.models.build import load_state
from mobilekit.models.user import is_file_spec, resolve
from mobilekit.parity.ledger import Ledger, Opener, measure
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.recipes.schema import Input, Recipe
from mobilekit.rewrites.engine import StepReport, rewrite
from mobilekit.runtimes.base import open_artifact
from mobilekit.runtimes.pytorch import TorchRuntime

Progress = Callable[[str], None]


def diff(
    bundle: Bundle,
    inputs: Path | None = None,
    progress: Progress = lambda _message: None,
    reference: str | None = None,
) -> Ledger:
    """Measure every stage of a bundle anew.

    Args:
        bundle: The bundle; its reference is the one it was exported from.
        inputs: A folder of pictures, or an .npz with `input` (float32, N x C x H x W, preprocessed) and perhaps
            `labels`; without, the recipe's built-in evaluation data.
        progress: Is told what goes on.
        reference: Names the model anew. A bundle of `FILE.py:FACTORY` needs it: opening a folder must not run code
            that only the folder names.

    Raises:
        UsageError: The inputs cannot be used, or the bundle's model or recipe is unknown here.
        ToolError: An artifact cannot be run.
    """
    loaded = _recipe_of(bundle)
    recipe = loaded.recipe
    evaluation = load_evaluation(inputs, recipe.input) if inputs else evaluation_inputs(recipe)
    model = _reference_of(bundle, reference)
    rewritten = rewrite(model, loaded, prove=False)
    load_state(rewritten.graph, bundle.path / bundles.REWRITTEN)
    steps = tuple(
        StepReport(step.name, step.exactness, step.applied, step.refused, max_drift=written["max_drift"])
        for step, written in zip(rewritten.steps, bundle.ledger["rewrites"], strict=True)
    )
    return measure_folder(bundle.path, recipe, model, rewritten.graph, evaluation, steps, progress)


def _reference_of(bundle: Bundle, name: str | None) -> nn.Module:
    """Build a bundle's reference model, and fill it with the weights in the bundle."""
    spec = bundle.manifest["model"]
    if name is None and is_file_spec(spec["name"]):
        raise UsageError(
            f"{bundle.path} was exported from the code {spec['name']}, which is not run unless you name it.",
            f"Add --reference {spec['name']}",
        )
    model = resolve(name or spec["name"]).create(**spec["options"])
    try:
        load_state(model, bundle.path / bundles.REFERENCE)
    except RuntimeError as error:
        raise UsageError(f"{name or spec['name']} is not the model that {bundle.path} was exported from.") from error
    return model


def _recipe_of(bundle: Bundle) -> LoadedRecipe:
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


def measure_folder(
    folder: Path,
    recipe: Recipe,
    reference: nn.Module,
    rewritten: nn.Module,
    evaluation: Evaluation | None = None,
    steps: Iterable[StepReport] = (),
    progress: Progress = lambda _message: None,
) -> Ledger:
    """Open and run each artifact in a folder, and compare it."""
    stages: dict[str, Opener] = {
        "reference": lambda: TorchRuntime(reference),
        "rewritten": lambda: TorchRuntime(rewritten),
        "onnx": lambda: open_artifact(folder / bundles.UNSIMPLIFIED),
        "onnx-simplified": lambda: open_artifact(folder / bundles.ONNX),
    }
    layouts = bundles.output_layouts(folder)
    for precision in recipe.precision:
        path = folder / tflite_name(precision)
        stages[f"tflite-{precision}"] = lambda path=path: open_artifact(path, layouts)  # type: ignore[misc]
    return measure(
        stages,
        recipe,
        evaluation or evaluation_inputs(recipe),
        random_inputs(recipe.input),
        steps,
        lambda stage: progress(f"measuring {stage}"),
    )


def load_evaluation(path: Path, spec: Input) -> Evaluation:
    """Read the user's own inputs, a folder of pictures or an .npz file.

    Raises:
        UsageError: The file is no .npz, has no fitting `input`, or labels that do not belong to it.
    """
    if path.suffix != ".npz":
        return Evaluation(str(path), load_folder(path, spec))
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, NpzFile):
            raise ValueError("it holds a bare array")
        with content:
            arrays = dict(content)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} is not an .npz file that can be read: {error}.") from error
    array = arrays.get("input", next(iter(arrays.values()))) if arrays else None
    if array is None or array.ndim != 4 or array.shape[1:] != spec.shape[1:] or not len(array):
        wanted = " x ".join(map(str, ("N", *spec.shape[1:])))
        got = "nothing" if array is None else f"an array of {' x '.join(map(str, array.shape))}"
        raise UsageError(f"{path} holds {got}, and the model takes {wanted}.", "Name the array `input`, in NCHW.")
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{path} holds values of type {array.dtype}, not numbers.")
    labels = arrays.get("labels")
    if labels is not None and labels.dtype.kind not in "iu":
        raise UsageError(f"{path} has labels of type {labels.dtype}, not class numbers.")
    if labels is not None and labels.shape != (len(array),):
        raise UsageError(f"{path} has {len(array)} inputs and labels of shape {labels.shape}.")
    inputs = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(inputs).all():
        raise UsageError(f"{path} has values that are not finite.")
    return Evaluation(str(path), inputs, None if labels is None else labels.astype(np.int64))
