"""An artifact that was made elsewhere beside the model that it should be, and where the two part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.analysis.precision import precision_of
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.build import build
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.source import Source
from mobilekit.models.inputs import zeros
from mobilekit.models.names import file_spec
from mobilekit.parity.bisect.bisect import Findings, bisect
from mobilekit.parity.bisect.layouts import Shape, distance
from mobilekit.parity.bisect.observed import Observed, observe
from mobilekit.parity.bisect.pairing import Paired, pair_inputs, pair_outputs
from mobilekit.parity.bisect.regions import Islands
from mobilekit.parity.bisect.simulate import onnx_format_errors, onnx_yardstick, torch_yardstick
from mobilekit.parity.bisect.tolerance import Yardstick
from mobilekit.parity.ledger.ledger import measure
from mobilekit.parity.ledger.limits import bounds_for, judge
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import Ledger, MeasuredOn, Row, verdict_of
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.inputs.user_data import read_arrays
from mobilekit.recipes.load import LoadedRecipe
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.bundle import Bundle
from mobilekit.store.stages import Precision, Stage, tflite_stage

Progress = Callable[[str], None]
_RANDOM_COUNT = 8
_CLOSED = {
    "pte": "ExecuTorch does not show the values inside a part",
    "mlpackage": "Core ML does not show the values inside a package",
}
"""Why a bisection does not look into files of a format."""
_INSTEAD = {
    "pte": "`mobilekit diff {bundle} --layers --precision {precision}` names the module, by a copy that gives more.",
    "mlpackage": "`mobilekit inspect {bundle}/model.mlpackage` says what is in it; export float32 as well.",
}
_MOST_CHANNELS = 4  # of a picture


@dataclass(frozen=True)
class Pair:
    """A reference and a candidate that take the same inputs and give the same outputs."""

    name: str
    """What the reference is called."""
    path: Path
    """The candidate's file."""
    precision: Precision
    """The candidate's number format."""
    candidate: Paired
    reference: Runtime
    evaluation: Evaluation
    random: Arrays
    yardstick: Callable[[Arrays], Yardstick]
    """The reference's steps for one input of each name."""
    measure: Callable[[], Ledger]
    """Compares the outputs."""
    notes: tuple[str, ...] = ()


def open_pair(reference: Source | Path, candidate: Path, inputs: Path | None) -> Pair:
    """Open an artifact beside its reference.

    Args:
        reference: What a PyTorch model is built of, or an .onnx file.
        candidate: An .onnx, .tflite or .pte file.
        inputs: A folder of pictures, or an .npz with arrays by the names of the inputs.

    Raises:
        UsageError: They cannot be opened, or have other inputs or outputs.
        ToolError: A runtime refuses a file.
    """
    if not candidate.is_file():
        raise UsageError(f"There is no file {candidate}.")
    runtime = open_artifact(candidate)
    if isinstance(reference, Path):
        return _pair_with_onnx(reference, candidate, runtime, inputs)
    return _pair_with_torch(reference, candidate, runtime, inputs)


def input_size_of(candidate: Path) -> int | tuple[int, int] | None:
    """Return height and width of the candidate's first image, where they are known."""
    shapes = open_artifact(candidate).input_shapes().values()
    shape = next((shape for shape in shapes if len(shape) == 4), ())
    for height, width in (shape[1:3], shape[2:4]) if shape else ():
        if isinstance(height, int) and height == width and height > 4:
            return height
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != 4 or min(sizes[1], sizes[3]) > _MOST_CHANNELS:
        return None
    return (sizes[2], sizes[3]) if sizes[1] <= _MOST_CHANNELS else (sizes[1], sizes[2])


def _pair_with_torch(source: Source, path: Path, runtime: Runtime, inputs: Path | None) -> Pair:
    recipe = source.recipe.recipe
    paired = pair_inputs(runtime, recipe.shapes)
    built = build(source).reference
    graph = trace(built.model, zeros(recipe.shapes))
    evaluation = read_evaluation(recipe, inputs)
    code = file_spec(source.model)
    name = f"{code[0].name}:{code[1]}" if code else source.model
    note = [] if built.is_trained else [f"the reference has {built.weights_source}; --weights F gives it others"]
    return _torch_pair(name, path, paired, source.recipe, built.model, graph, evaluation, built.is_trained, note)


def _torch_pair(
    name: str,
    path: Path,
    paired: Paired,
    loaded: LoadedRecipe,
    model: nn.Module,
    graph: GraphModule,
    evaluation: Evaluation,
    is_trained: bool,
    notes: list[str],
) -> Pair:
    recipe, precision, reference = loaded.recipe, precision_of(path), TorchRuntime(model)
    random = random_inputs(recipe)
    one = _first(random)
    pair_outputs(paired, one, reference.run(one))
    stage = Stage.PTE_FLOAT16 if (path.suffix, precision) == (".pte", "float16") else tflite_stage(precision)

    def measure_it() -> Ledger:
        ledger = measure(model, graph, {stage: lambda: paired}, recipe, evaluation, random, is_trained=is_trained)
        rows = [row for row in ledger.rows if row.stage is stage and row.against is Stage.REFERENCE]
        return replace(ledger, rows=tuple(replace(row, stage=path.name) for row in rows))

    def yardstick(inputs: Arrays) -> Yardstick:
        return torch_yardstick(graph, precision, inputs)

    return Pair(
        name, path, precision, paired, reference, evaluation, random, yardstick, measure_it, (*notes, *paired.notes)
    )


def _pair_with_onnx(reference: Path, path: Path, runtime: Runtime, inputs: Path | None) -> Pair:
    import onnx

    if not reference.is_file():
        raise UsageError(f"There is no file {reference}.")
    truth, model = OnnxRuntime(reference), onnx.load(reference)
    shapes = _fixed(reference, truth.input_shapes(), runtime.input_shapes())
    paired = pair_inputs(runtime, shapes)
    dtypes = {info.name: info.dtype for info in truth.inputs}
    random = _random(dtypes, shapes)
    drawn = "random bytes" if "uint8" in dtypes.values() else "standard normal"
    evaluation = Evaluation(str(inputs), read_arrays(inputs, shapes)) if inputs else Evaluation(drawn, random)
    one = _first(random)
    pair_outputs(paired, one, truth.run(one))
    precision = precision_of(path)

    def yardstick(arrays: Arrays) -> Yardstick:
        return onnx_yardstick(model, precision, arrays)

    def measure_it() -> Ledger:
        return _measure_against_onnx(path.name, tflite_stage(precision), truth, model, paired, evaluation)

    return Pair(
        reference.name, path, precision, paired, truth, evaluation, random, yardstick, measure_it, tuple(paired.notes)
    )


def _fixed(path: Path, wanted: dict[str, Any], taken: dict[str, Any]) -> dict[str, Shape]:
    """Return the reference's input shapes, free sizes as the candidate has them, a free batch as 1.

    Raises:
        UsageError: A size is free in both.
    """
    shapes = {}
    for (name, shape), other in zip(wanted.items(), [*taken.values(), *[()] * len(wanted)], strict=False):
        like = list(other) if len(other) == len(shape) else list(shape)
        if len(like) == 4 and shape[1] == like[3] != like[1]:
            like = [like[0], like[3], *like[1:3]]
        sizes = [size if isinstance(size, int) and size > 0 else own for size, own in zip(shape, like, strict=True)]
        sizes[:1] = [1] * len(sizes[:1])
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise UsageError(f"The input {name} of {path.name} has sizes that are free: {shape}.", "Fix them first.")
        shapes[name] = tuple(sizes)
    return shapes


def _random(dtypes: dict[str, str], shapes: dict[str, Shape]) -> Arrays:
    """Return standard normal inputs, and whole numbers of 0 to 255 for those that are bytes."""
    generator, arrays = np.random.default_rng(0), {}
    for name, (_batch, *rest) in shapes.items():
        size = (_RANDOM_COUNT, *rest)
        is_bytes = dtypes[name] == "uint8"
        arrays[name] = generator.integers(0, 256, size) if is_bytes else generator.standard_normal(size)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _measure_against_onnx(
    file: str, stage: Stage, reference: Runtime, model: Any, candidate: Paired, evaluation: Evaluation
) -> Ledger:
    truths, outputs = reference.run(evaluation.inputs), candidate.run(evaluation.inputs)
    errors = onnx_format_errors(model, evaluation.inputs, stage.precision)
    rows = []
    for key, truth in truths.items():
        metrics = compare(truth, outputs[key])
        limits = judge(bounds_for(stage, errors[key], 0.0, None), metrics)
        row = Row(
            **vars(metrics),
            stage=file,
            against=Stage.REFERENCE,
            output=key,
            verdict=verdict_of(limits) if metrics.finite else "fail",
            limits=limits,
            random=metrics,
        )
        rows.append(row)
    return Ledger(MeasuredOn(evaluation.name, evaluation.count), errors, tuple(rows))


def pair_of_bundle(bundle: Bundle, ledger: Ledger, inputs: Path | None, reference: str | None) -> Pair | None:
    """Return the first stage of a bundle that failed, beside the rewritten model; None where none did.

    Raises:
        GateError: The rewritten model itself is wrong, which no conversion made.
        UsageError: A file for ExecuTorch or Core ML alone failed.
    """
    stages = [Stage(row.stage) for row in ledger.rows if row.verdict == "fail"]
    failed = [stage for stage in stages if not stage.is_on_device]
    if not failed:
        return None
    if failed[0] is Stage.REWRITTEN:
        raise GateError(
            "The stage that failed is the rewritten model, before any conversion.",
            "`mobilekit rewrites explain MODEL` proves or measures each rewrite by itself.",
        )
    seen = [stage for stage in failed if stage.file_format not in _CLOSED]
    if not seen:
        raise UsageError(
            f"{failed[0]} failed, and {_CLOSED[failed[0].file_format]}, where a bisection looks.",
            _INSTEAD[failed[0].file_format].format(bundle=bundle.path, precision=failed[0]),
        )
    failed = seen
    path = bundle.path / failed[0].file
    loaded = recipe_of_bundle(bundle)
    _model, rewritten = models_of_bundle(bundle, loaded, reference)
    graph = rewritten.graph
    runtime = open_artifact(path)
    paired = pair_inputs(runtime, loaded.recipe.shapes)
    evaluation = read_evaluation(loaded.recipe, inputs)
    return _torch_pair("the rewritten model", path, paired, loaded, graph, graph, evaluation, True, [])


def find_faults(pair: Pair, progress: Progress = lambda _message: None) -> tuple[Islands, Findings]:
    """Return where a candidate departs from its reference, on the input whose outputs are furthest apart."""
    progress("choosing an input")
    inputs = _worst_input(pair)
    progress("running reference and candidate step by step")
    islands = Islands(_observe(pair, inputs), pair.yardstick(inputs))
    return islands, bisect(islands, progress)


def _worst_input(pair: Pair) -> Arrays:
    """Return one batch, the worst input first: real, or random for a float candidate, which holds for any input."""
    pools = [pair.evaluation.inputs, *([] if tflite_stage(pair.precision).is_quantized else [pair.random])]
    found: list[tuple[float, Arrays]] = []
    for pool in pools:
        truths, outputs = pair.reference.run(pool), pair.candidate.run(pool)
        count = len(next(iter(pool.values())))
        for number in range(count):
            errors = [distance(truth[number], outputs[name][number]) for name, truth in truths.items()]
            places = (number + np.arange(pair.candidate.runtime.batch)) % count
            found.append((max(errors), {name: array[places] for name, array in pool.items()}))
    return max(found, key=lambda one: one[0] if not math.isnan(one[0]) else math.inf)[1]


def _observe(pair: Pair, inputs: Arrays) -> Observed:
    own = {name: (other, inputs[name]) for name, other in pair.candidate.own_inputs.items()}
    return observe(pair.path, own, list(pair.candidate.own_outputs.values()))


def _first(arrays: Arrays) -> Arrays:
    return {name: array[:1] for name, array in arrays.items()}
