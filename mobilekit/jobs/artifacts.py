"""All files of a bundle that are made of its rewritten model: an export makes them, and a rebuild makes them again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mobilekit.convert.alignment import align
from mobilekit.convert.pipeline import convert
from mobilekit.models.build import save_state
from mobilekit.parity.ranges.lint import lint
from mobilekit.parity.ranges.result import RangeLint
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import Rewritten
from mobilekit.store import bundle as bundles
from mobilekit.store.cache import Cache
from mobilekit.store.files import write_json
from mobilekit.store.stages import Stage

Progress = Callable[[str], None]


def make_artifacts(
    folder: Path, rewritten: Rewritten, recipe: Recipe, calibration: Calibration, cache: Cache, progress: Progress
) -> RangeLint:
    """Write all files that are made of a rewritten model into `folder`, which has a subfolder `stages`.

    Returns:
        What float16 and int8 will do to the activations.

    Raises:
        ToolError: A converter failed.
    """
    save_state(rewritten.graph, folder / Stage.REWRITTEN.file)
    scratch = folder / "scratch"
    scratch.mkdir()
    owners = convert(folder, scratch, rewritten.graph, recipe, calibration, cache, progress)
    shutil.rmtree(scratch)
    path = folder / Stage.TFLITE_FLOAT32.file
    if path.exists():
        owners = owners or align(rewritten.graph, path, random_inputs(recipe, count=1))
        write_json(folder / bundles.MODULES, owners.to_json())
    progress("recording the ranges of the activations")
    report, recording = lint(rewritten.graph, calibration.arrays, recipe)
    if "int8" in recipe.precision:
        write_json(folder / bundles.RANGES, recording.ranges)
    return report
