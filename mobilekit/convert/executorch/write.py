"""A rewritten model's files for ExecuTorch, those that the cache has from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram
from torch.fx import GraphModule

from mobilekit.artifacts.executorch.environment import versions
from mobilekit.artifacts.inspect import input_entry
from mobilekit.convert.executorch.float_steps import float_steps
from mobilekit.convert.executorch.forms import FORMS
from mobilekit.convert.executorch.half import in_float16
from mobilekit.convert.executorch.lower import Quantization, lower
from mobilekit.convert.keys import structure, tools
from mobilekit.convert.program.program import output_names, program_of
from mobilekit.errors import FullDiskError, ToolError
from mobilekit.models.inputs import input_names
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INT8_RANGES, OUTSIDE
from mobilekit.store.cache import Cache
from mobilekit.store.files import sha256_of_json, write_json
from mobilekit.store.stages import Stage

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What is lowered next."""

    program: ExportedProgram | ToolError
    """The error where there is none."""
    keys: Mapping[Stage, str]
    """In the cache, of the files to make."""
    facts: Mapping[str, Any]
    """What a file says of itself."""
    quantization: Quantization | None = None
    """For int8, where that is made."""


def export_programs(
    folder: Path,
    graph: GraphModule,
    recipe: Recipe,
    calibration: Calibration | None,
    cache: Cache,
    progress: Progress,
) -> Exported | None:
    """Export the program of the files for ExecuTorch that a recipe asks for; None where the cache has them all.

    Args:
        folder: Files from the cache are written here.
        graph: The rewritten model, float32.
        recipe: Its precisions are made.
        calibration: For int8; not needed where that is not made.
        cache: Has what was made before.
        progress: Is told what goes on.

    Raises:
        ToolError: ExecuTorch is not there.
    """
    if not recipe.programs:
        return None
    facts = {
        "inputs": input_names(graph),
        "outputs": output_names(graph, recipe.file_shapes),
        "input": input_entry(recipe.input),
    }
    shared = {
        **structure(graph),
        "weights": weights_digest(graph),
        "shapes": list(recipe.file_shapes.items()),
        "bytes": recipe.bytes,
        "facts": facts,
        "executorch": versions(),
        **tools(),
    }
    int8 = {
        "calibration": calibration.digest if calibration else None,
        "int8": recipe.int8.model_dump(mode="json"),
    }
    keys = {
        stage: sha256_of_json({"stage": stage, **shared, **(int8 if stage.is_calibrated else {})})
        for stage in recipe.programs
    }
    missing = {stage: key for stage, key in keys.items() if not cache.take(key, folder)}
    if not missing:
        return None
    progress("exporting the program for ExecuTorch")
    try:
        program = program_of(graph, recipe.file_shapes, FORMS, recipe.bytes)
    except ToolError as error:
        return Exported(error, missing, facts)
    quantization = None
    if any(stage.is_calibrated for stage in missing):
        assert calibration is not None
        arrays = [calibration.arrays[name] for name in facts["inputs"]]
        wanted = recipe.int8
        steps = float_steps(program, wanted)
        quantization = Quantization(arrays, steps, wanted.correct_bias, wanted.ranges == "chosen")
    return Exported(program, missing, facts, quantization)


def lower_programs(
    folder: Path, scratch: Path, exported: Exported | None, cache: Cache, progress: Progress
) -> dict[Stage, ToolError]:
    """Write the files for ExecuTorch, and return why one could not be made.

    Args:
        folder: Where to write; its `stages` must exist.
        scratch: A folder for the tools' own files.
        exported: What `export_programs` gave.
        cache: Takes what is made.
        progress: Is told what goes on.
    """
    failed: dict[Stage, ToolError] = {}
    if exported is None:
        return failed
    for stage, key in exported.keys.items():
        if isinstance(exported.program, ToolError):
            failed[stage] = exported.program
            continue
        progress(f"lowering to ExecuTorch ({stage.precision})")
        try:
            quantization = exported.quantization if stage.is_calibrated else None
            program, facts = exported.program, exported.facts
            if stage.is_in_float16:
                program, facts = in_float16(program), {**facts, "precision": stage.precision}
            written = lower(program, folder / stage.file, scratch, facts, quantization)
        except FullDiskError:
            raise
        except ToolError as error:
            failed[stage] = error
            continue
        beside: dict[str, Any] = {OUTSIDE.format(stage): written.outside}
        if quantization:
            beside[INT8_RANGES.format(stage)] = written.ranges
        for name, content in beside.items():
            write_json(folder / name, content)
        cache.put(key, folder, [stage.file, *beside])
    return failed
