"""Make golden cases of a bundle."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.fx import GraphModule

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import batches
from mobilekit.errors import UsageError
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.goldens.result import (
    FORMAT,
    GOLDENS,
    GoldenCase,
    GoldenFile,
    Goldens,
    Place,
    Tolerance,
)
from mobilekit.jobs.goldens.runtimes import LiteRT, Onnx, Replayer, Tensors
from mobilekit.parity.ledger.device_limits import device_bounds, float16_arithmetic_bounds
from mobilekit.parity.ledger.float16_arithmetic import float16_losses
from mobilekit.parity.ledger.ledger import check_labels
from mobilekit.parity.ledger.result import Bound, FormatError, Ledger
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.preprocess import Arrays
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT, Bundle, find_changes, refuse_inside_bundle
from mobilekit.store.files import sha256_of_all, whole_folder, write_json
from mobilekit.store.manifest import File, Tensor
from mobilekit.store.stages import Stage, stage_in, tflite_stage
from mobilekit.store.versions import installed_version

Progress = Callable[[str], None]
Tolerances = dict[Place, dict[str, Tolerance]]

_PACKAGE = Stage.MLPACKAGE
_NOT_RUN = (
    f"{_PACKAGE.file} was not run: its expected values are those of the rewritten model in PyTorch, in float32, and "
    "its tolerances those of float16 arithmetic."
)
_METRICS = ("max_abs", "relative_l2", "equal_labels")
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
_ROUNDING = 1e-4
"""Levels of 255 that float32 may move a byte by on its way through mean and std and back."""


def make_goldens(
    bundle: Bundle,
    output: Path,
    count: int,
    inputs: Path | None = None,
    reference: str | None = None,
    force: bool = False,
    progress: Progress = lambda _message: None,
    files: Sequence[str] | None = None,
) -> Goldens:
    """Run a bundle's files on some inputs, and write these and what comes of them.

    Args:
        bundle: The bundle, as it was written.
        output: The folder to make.
        count: How many cases.
        inputs: As `mobilekit diff` takes them; the recipe's built-in evaluation data without.
        reference: `FILE.py:FACTORY`, for a bundle that was exported from one; for the tolerances of GPUs and a package
            for Core ML alone.
        force: Replace a folder of goldens.
        progress: Is told what goes on.
        files: Of the bundle's, those to run; all without.

    Raises:
        UsageError: The bundle was changed or has no file that goldens are made of, the inputs cannot be used, or
            something else is in the way.
        ToolError: A file cannot be run.
    """
    refuse_inside_bundle(output)
    _check_place(output, force)
    if changes := find_changes(bundle.path):
        raise UsageError(f"{bundle.path} is not as it was exported: {changes[0]}.", "Export it again.")
    _check_replayed(bundle)
    recipe = recipe_of_bundle(bundle).recipe
    evaluation = read_evaluation(recipe, inputs)
    some = {name: array[:count] for name, array in evaluation.inputs.items()}
    errors, graph, notes = _format_errors(bundle, some, reference, progress)
    run = _files(bundle, errors, files, on_gpu=not notes)
    programs = _programs(bundle) if files is None else ()
    if any(file.file == _PACKAGE.file for file in run):
        notes += (_NOT_RUN,)
    elif files is None and _PACKAGE.file in bundle.manifest["artifacts"]:
        programs = (*programs, _PACKAGE.file)
    notes += (f"Without {', '.join(programs)}: goldens are of .tflite and .onnx files.",) if programs else ()
    if not run:
        raise UsageError(
            f"{bundle.path} has nothing to replay. {' '.join(notes)}", "Name the model: --reference MODEL."
        )
    _check_labels(evaluation, run[-1])
    with whole_folder(output, replace=force) as folder:
        cases = tuple(_cases(folder, bundle.path, run, graph, recipe, evaluation, some, progress))
        made = Goldens(
            FORMAT,
            str(bundle.manifest["model"]["name"]),
            str(bundle.manifest["request"]),
            Path(os.path.relpath(bundle.path.resolve(), output.resolve())).as_posix(),
            {name: installed_version(name) or "not installed" for name in ("ai-edge-litert", "onnxruntime")},
            run,
            cases,
            notes,
        )
        write_json(folder / GOLDENS, made.to_json())
    return made


def _files(
    bundle: Bundle, errors: Mapping[str, FormatError], files: Sequence[str] | None, on_gpu: bool
) -> tuple[GoldenFile, ...]:
    """Return a bundle's TFLite files, its ONNX files and its package, with their tolerances; those named, or all."""
    made = []
    package = (_PACKAGE,) if on_gpu and _PACKAGE.file in bundle.manifest["artifacts"] else ()
    there = (*map(tflite_stage, bundle.precisions), *bundle.onnx_stages, *package)
    for stage in (each for each in there if files is None or each.file in files):
        entry = File.from_json(bundle.manifest["artifacts"][stage.file])
        digest, ends = sha256_of_all(bundle.path / stage.file), (tuple(entry.inputs), tuple(entry.outputs))
        made.append(GoldenFile(stage.file, digest, *ends, _tolerances(stage, errors, on_gpu)))
    return tuple(made)


def _programs(bundle: Bundle) -> tuple[str, ...]:
    """Return the names of a bundle's files for ExecuTorch, which no goldens are made of."""
    return tuple(file for file in bundle.manifest["artifacts"] if file.endswith(".pte"))


def _check_replayed(bundle: Bundle) -> None:
    if not bundle.precisions and not bundle.onnx_stages and _PACKAGE.file not in bundle.manifest["artifacts"]:
        without = f", without {', '.join(programs)}" if (programs := _programs(bundle)) else ""
        raise UsageError(
            f"{bundle.path} has nothing to replay: goldens are of .tflite and .onnx files{without}.",
            "Export it with --precision float32, for example.",
        )


def _check_labels(evaluation: Evaluation, file: GoldenFile) -> None:
    """Check that the labels number the classes of a file's first output."""
    first = file.outputs[0]
    check_labels(evaluation, np.zeros([size if isinstance(size, int) else 1 for size in first.shape], first.dtype))


def _check_place(output: Path, force: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / GOLDENS).is_file():
        raise UsageError(f"{output} exists and holds no goldens.", "Choose another place with -o.")
    if not force:
        raise UsageError(f"{output} holds goldens; they are kept.", "Replace them with --force.")


def _format_errors(
    bundle: Bundle, inputs: Arrays, reference: str | None, progress: Progress
) -> tuple[dict[str, FormatError], GraphModule | None, tuple[str, ...]]:
    """Return what the formats do to each output, with float16 arithmetic where it is known, the model, and notes."""
    errors = dict(Ledger.from_json(bundle.ledger).format_errors)
    try:
        _model, rewritten = models_of_bundle(bundle, recipe_of_bundle(bundle), reference)
    except UsageError as error:
        if reference is not None:
            raise
        why = f"Without tolerances for GPUs, for which the model is simulated: {error.what} {error.hint}".rstrip()
        return errors, None, (why,)
    progress("computing in float16")
    losses = float16_losses(rewritten.graph, inputs, TorchRuntime(rewritten.graph).run(inputs))
    if not all(map(math.isfinite, losses.values())):
        why = "Without tolerances for GPUs: values of the model leave float16's range in the simulation."
        return errors, rewritten.graph, (why,)
    known = {name: replace(error, float16_arithmetic_relative_l2=losses[name]) for name, error in errors.items()}
    return known, rewritten.graph, ()


def _tolerances(stage: Stage, errors: Mapping[str, FormatError], is_simulated: bool) -> Tolerances:
    """Return how far a file's outputs may be from what it gave here, on another processor and on a GPU."""
    found: Tolerances = {"cpu": {}, "gpu": {}}
    if stage is _PACKAGE:
        limits = {name: _tolerance(float16_arithmetic_bounds(error, 0.0)) for name, error in errors.items()}
        return dict.fromkeys(found, limits)
    on_gpu = stage_in("gpu", stage) if is_simulated else None
    for name, error in errors.items():
        found["cpu"][name] = _tolerance(device_bounds(stage, error))
        if on_gpu:
            more = device_bounds(on_gpu, error) if stage.is_quantized else ()
            found["gpu"][name] = _tolerance((*float16_arithmetic_bounds(error, 0.0), *more))
    return {place: limits for place, limits in found.items() if limits}


def _tolerance(bounds: Sequence[Bound]) -> Tolerance:
    """Return the first bound that one case can be held to, and what others on the same metric allow besides."""
    first = next(bound for bound in bounds if bound.metric in _METRICS)
    same = [bound for bound in bounds if bound.metric == first.metric]
    derivation = "; and ".join(bound.derivation for bound in same)
    if first.metric == "equal_labels":
        limit = 1 - sum(1 - bound.limit for bound in same)
        return Tolerance("equal_labels", max(0.0, limit), derivation)
    return Tolerance(first.metric, sum(bound.limit for bound in same), derivation)  # type: ignore[arg-type]


def _cases(
    folder: Path,
    bundle: Path,
    files: tuple[GoldenFile, ...],
    graph: GraphModule | None,
    recipe: Recipe,
    evaluation: Evaluation,
    inputs: Arrays,
    progress: Progress,
) -> Iterator[GoldenCase]:
    """Write each case into a folder of its own, and yield it."""
    runners: dict[str, _Runner | _Stated] = {
        file.file: _Runner(bundle, file) for file in files if file.file != _PACKAGE.file
    }
    if graph is not None:
        runners |= {file.file: _Stated(graph, file) for file in files if file.file == _PACKAGE.file}
    names = recipe.labels or evaluation.label_names
    count = len(inputs[INPUT])
    pictures = [*islice(evaluation.pictures(), count)] if evaluation.pictures else [None] * count
    for number, pictured in enumerate(pictures):
        progress(f"case {number + 1} of {count}")
        case = f"case-{number}"
        (folder / case).mkdir()
        one = {name: array[number : number + 1] for name, array in inputs.items()}
        label = None if evaluation.labels is None else int(evaluation.labels[number])
        begun = GoldenCase(
            case,
            f"{evaluation.name}, input {number}" if pictured is None else pictured[0],
            _save_picture(pictured[1], folder, f"{case}/picture.png") if pictured else None,
            _save_scaled(one[INPUT][0], recipe.input, folder, f"{case}/scaled.png"),
            None if label is None else names[label] if names else str(label),
            {},
            {},
        )
        taken = {name: runner.encoded(one) for name, runner in runners.items()}
        given = {name: runner.given(begun, taken[name]) for name, runner in runners.items()}
        yield replace(
            begun,
            inputs={file.file: _save_inputs(taken[file.file], file, folder, case) for file in files},
            expected={name: _save_outputs(outputs, name, folder, case) for name, outputs in given.items()},
        )


class _Runner:
    """What runs a file of a bundle, opened once."""

    def __init__(self, bundle: Path, file: GoldenFile) -> None:
        self.file, self._path = file, bundle / file.file
        self.replayer: Replayer = (Onnx if self._path.suffix == ".onnx" else LiteRT)(bundle)
        self._runtime = open_artifact(self._path)

    def encoded(self, inputs: Arrays) -> Tensors:
        """Return one input (1, ...) by name as the file takes it; one of a batch stands in all of its places."""
        runtime = self._runtime
        if isinstance(runtime, LiteRTRuntime):
            (arrays,) = runtime.encoded(inputs)
            return {info.name: array for info, array in zip(runtime.inputs, arrays, strict=True)}
        given = {info.name: inputs[info.name].astype(info.dtype, copy=False) for info in runtime.inputs}
        return {name: next(batches(array, runtime.batch)) for name, array in given.items()}

    def given(self, case: GoldenCase, tensors: Tensors) -> Tensors:
        """Return what the file gives."""
        return self.replayer.run(self.file, case, tensors)


class _Stated:
    """What stands for a package for Core ML, which is not run: the rewritten model in PyTorch, in float32."""

    def __init__(self, graph: GraphModule, file: GoldenFile) -> None:
        self._runtime, self._file = TorchRuntime(graph), file

    def encoded(self, inputs: Arrays) -> Tensors:
        """Return one input (1, ...) by name as the package takes it."""
        return {each.name: self._filled(inputs[each.name], each) for each in self._file.inputs}

    def given(self, _case: GoldenCase, tensors: Tensors) -> Tensors:
        """Return what the package is to give for what it takes."""
        outputs = self._runtime.run({name: array[:1] for name, array in tensors.items()})
        return {each.name: self._filled(outputs[each.name], each) for each in self._file.outputs}

    def _filled(self, array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
        size = tensor.shape[0]
        assert isinstance(size, int)
        return next(batches(array.astype(tensor.dtype, copy=False), size))


def _save_inputs(tensors: Tensors, file: GoldenFile, folder: Path, case: str) -> dict[str, str]:
    """Save what a file takes, once for all files that take the same; return the paths by name."""
    layouts = {each.name: each.layout for each in file.inputs}
    paths = {}
    for name, array in tensors.items():
        words = [name, array.dtype.name, *([layouts[name].lower()] if layouts.get(name) else [])]  # type: ignore[union-attr]
        paths[name] = f"{case}/{'.'.join(words)}.npy"
        np.save(folder / paths[name], array)
    return paths


def _save_outputs(tensors: Tensors, file: str, folder: Path, case: str) -> dict[str, str]:
    paths = {}
    for number, (name, array) in enumerate(tensors.items()):
        paths[name] = f"{case}/{file}.output{number}.npy"
        np.save(folder / paths[name], array)
    return paths


def _save_picture(picture: Image.Image, folder: Path, path: str) -> str:
    (picture if picture.mode in _PNG_MODES else picture.convert("RGB")).save(folder / path)
    return path


def _save_scaled(array: NDArray[np.float32], spec: Input, folder: Path, path: str) -> str | None:
    """Save the picture that an input (C, H, W) was made of; None where it was made of none."""
    if spec.channels is not None:
        return None
    pixels = array.transpose(1, 2, 0).astype(np.float64)
    if not spec.takes_levels:
        pixels = (pixels * np.asarray(spec.std) + np.asarray(spec.mean)) * 255
    levels = np.round(pixels)
    if np.abs(levels - pixels).max() > _ROUNDING * 255 or levels.min() < 0 or levels.max() > 255:
        return None
    levels = levels[..., ::-1] if spec.color == "bgr" else levels
    shown = levels.astype(np.uint8)
    Image.fromarray(np.ascontiguousarray(shown[..., 0] if shown.shape[2] == 1 else shown)).save(folder / path)
    return path
