"""Mixed precision by measurement: the little in float with which an int8 file holds a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.bench.artifacts import find_artifacts
from mobilekit.bench.devices.emulator_setup import find_count_problem
from mobilekit.bench.instructions.cores import CountedCore
from mobilekit.bench.instructions.count import count_files
from mobilekit.bench.instructions.result import CountResult
from mobilekit.convert.alignment import align
from mobilekit.convert.tflite import write_quantized
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.jobs.export import export
from mobilekit.jobs.quantize_search.float_search import FloatSearch, Point
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.source import Source
from mobilekit.parity.ledger.metrics import compare
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.inputs.preprocess import Arrays
from mobilekit.recipes.schema import Int8, Limit, Recipe
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import Cache
from mobilekit.store.jsonable import to_json
from mobilekit.store.stages import Stage

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Int8Result:
    """A real int8 file, on the evaluation inputs."""

    int8: Int8
    """What stays in float."""
    cosine: float
    """Smallest of all inputs and outputs, against the rewritten model."""
    relative_l2: float
    size_bytes: int
    partitions: int
    """Of the XNNPACK delegate."""
    instructions: int | None = None
    """Of one inference on the core that was counted on; None where nothing was, or the count was refused."""

    def to_json(self) -> dict[str, Any]:
        """Return the file's figures as JSON data, without those that nobody asked for."""
        figures = {name: value for name, value in vars(self).items() if name != "int8" and value is not None}
        return {"keep_float": list(self.int8.keep_float), "modules": list(self.int8.float_modules), **figures}


@dataclass(frozen=True)
class SearchResult:
    """What a search tried and found."""

    model: str
    base: str
    """Name of the recipe that it started from."""
    limit: float
    points: tuple[Point, ...]
    """Simulated on calibration inputs, a part more in float each."""
    files: tuple[Int8Result, ...]
    """Made and run: the recipe's own first, the chosen one last."""
    recipe: Recipe
    """The recipe with the choice in it."""
    counts: tuple[CountResult, ...] = ()
    """Of the float32 file and of each int8 file, where instructions were asked for."""

    @property
    def holds(self) -> bool:
        """Whether the last file is within the limit."""
        return self.files[-1].cosine >= self.limit

    def file_of(self, int8: Int8) -> Int8Result | None:
        """Return the file that was made with this in float, None where none was."""
        return next((file for file in self.files if file.int8 == int8), None)

    def to_json(self) -> dict[str, Any]:
        """Return all as JSON data."""
        return {
            "model": self.model,
            "recipe": self.base,
            "limit": self.limit,
            "verdict": "pass" if self.holds else "fail",
            "keep_float": list(self.files[-1].int8.keep_float),
            "float_modules": list(self.files[-1].int8.float_modules),
            "points": [point.to_json() for point in self.points],
            "files": [file.to_json() for file in self.files],
            **({"core": to_json(self.counts[0].core), "counts": to_json(self.counts)} if self.counts else {}),
        }


def search(
    request: ExportRequest,
    limit: float,
    most: int,
    inputs: int,
    cache: Cache,
    progress: Progress = lambda _message: None,
    core: CountedCore | None = None,
) -> SearchResult:
    """Find what to leave in float, simulated on calibration inputs, and prove it with real files on evaluation inputs.

    There is nothing to find where the recipe's own file holds the limit.

    Args:
        request: What to export; `output` is a scratch folder, in which the files stay.
        limit: The smallest cosine of an input's two outputs that is good enough.
        most: The largest number of parts that are added.
        inputs: The number of calibration inputs to simulate on.
        cache: Of the export.
        progress: Is told what goes on.
        core: Count the instructions of each file that is made on this core; without, nothing is counted.

    Raises:
        UsageError: The request cannot be carried out.
        ToolError: A tool failed, or the emulated device that counts is not set up.
    """
    if core and (problem := find_count_problem()):
        raise problem
    loaded = adjust(request.source.recipe, precision=("float32", "int8"))
    source = replace(request.source, recipe=loaded)
    made = export(replace(request, source=source, strict=True), cache)
    calibration = read_calibration(loaded.recipe, source.calibration).arrays
    trial = _FileMaker(made.bundle, source, calibration, core, progress)
    picked = np.linspace(0, len(calibration["input"]) - 1, inputs).round().astype(int)
    few = {name: array[np.unique(picked)] for name, array in calibration.items()}
    ranges = bundles.calibrated_ranges(made.bundle.path) or {}
    files = [trial.measure(loaded.recipe.int8)]
    more = 0 if files[0].cosine >= limit else most
    points = tuple(islice(FloatSearch(trial.graph, few, loaded.recipe.int8, ranges, progress).points(), more + 1))
    for point in points[1:]:
        if files[-1].cosine >= limit:
            break
        if point.cosine >= limit or point is points[-1]:
            progress(f"int8 file with {point.added} and what came before in float")
            files.append(trial.measure(point.int8))
    chosen = _with(request.source.recipe.recipe, files[-1], limit)
    return SearchResult(
        source.model, request.source.recipe.name, limit, points, tuple(files), chosen, tuple(trial.counts)
    )


def _with(recipe: Recipe, file: Int8Result, limit: float) -> Recipe:
    """Return the recipe with what stays in float and, where the file holds it, the limit."""
    changes: dict[str, Any] = {"int8": file.int8}
    if file.cosine >= limit:
        own = recipe.limits.get(Stage.TFLITE_INT8, Limit()).model_copy(update={"cosine": limit})
        changes["limits"] = {**recipe.limits, Stage.TFLITE_INT8: own}
    return recipe.model_copy(update=changes)


def as_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML, without what is as everywhere and without the models that use it by default."""
    content = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"models"})
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


class _FileMaker:
    """Makes int8 files of one float32 file."""

    def __init__(
        self, bundle: Bundle, source: Source, calibration: Arrays, core: CountedCore | None, progress: Progress
    ) -> None:
        self.core, self.progress, self.counts = core, progress, list[CountResult]()
        self.folder, self.recipe, self.calibration = bundle.path, source.recipe.recipe, calibration
        self.graph = models_of_bundle(bundle, recipe_of_bundle(bundle), source.model)[1].graph
        self.float32 = self.folder / Stage.TFLITE_FLOAT32.file
        self.owners = align(self.graph, self.float32, random_inputs(self.recipe, count=self.recipe.input.batch))
        self.inputs = read_evaluation(self.recipe, source.inputs).inputs
        self.truth = TorchRuntime(self.graph).run(self.inputs)
        self._count(self.float32)

    def measure(self, int8: Int8) -> Int8Result:
        path = self.folder / "trial.tflite"
        tensors = self.owners.tensors_inside(int8.float_modules)
        write_quantized(self.float32, path, self.calibration, self.folder, int8, tensors)
        runtime = LiteRTRuntime(path, bundles.output_layouts(self.folder))
        outputs = runtime.run(self.inputs)
        metrics = [compare(self.truth[name], outputs[name]) for name in self.truth]
        return Int8Result(
            int8,
            min(one.cosine for one in metrics),
            max(one.relative_l2 for one in metrics),
            path.stat().st_size,
            runtime.partitions(),
            self._count(path),
        )

    def _count(self, path: Path) -> int | None:
        """Return the instructions of a file, where they are asked for and its count is not refused."""
        if self.core is None:
            return None
        self.counts.append(count_files(find_artifacts([path]), self.core, self.progress))
        [found] = self.counts[-1].results
        return found.count.instructions if found.count else None
