"""A rewritten model's package for Core ML, where the cache has none from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch.fx import GraphModule

from mobilekit.artifacts.coreml.environment import versions
from mobilekit.artifacts.inspect import input_entry
from mobilekit.convert.coreml.convert import convert_package
from mobilekit.convert.coreml.forms import FORMS
from mobilekit.convert.coreml.lost import check_kept
from mobilekit.convert.keys import structure, tools
from mobilekit.convert.program.program import output_names, program_of
from mobilekit.errors import FullDiskError, ToolError
from mobilekit.models.inputs import input_names
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.fx.capture import quiet
from mobilekit.store.cache import Cache
from mobilekit.store.files import sha256_of_json
from mobilekit.store.stages import Stage

_STAGE = Stage.MLPACKAGE


def write_package(
    folder: Path,
    scratch: Path,
    graph: GraphModule,
    recipe: Recipe,
    cache: Cache,
    progress: Callable[[str], None],
) -> dict[Stage, ToolError]:
    """Write the package for Core ML, where the recipe asks for that, and return why it could not be made.

    Its inputs are floats, also where other files take bytes: Core ML has no arrays of bytes.

    Args:
        folder: Where to write.
        scratch: A folder for the tools' own files.
        graph: The rewritten model, float32.
        recipe: What it says of Core ML and of inputs counts.
        cache: Has what was made before.
        progress: Is told what goes on.
    """
    if _STAGE.value not in recipe.precision:
        return {}
    facts = {
        "inputs": input_names(graph),
        "outputs": output_names(graph, recipe.file_shapes),
        "input": input_entry(recipe.input),
    }
    target = recipe.coreml.minimum_deployment_target
    key = sha256_of_json(
        {
            "stage": _STAGE,
            **structure(graph),
            "weights": weights_digest(graph),
            "shapes": list(recipe.file_shapes.items()),
            "facts": facts,
            "target": target,
            "coremltools": versions(),
            **tools(),
        }
    )
    if cache.take(key, folder):
        return {}
    progress("converting to Core ML with coremltools")
    package = folder / _STAGE.file
    try:
        program = program_of(graph, recipe.file_shapes, FORMS)
        with quiet(), torch.no_grad():
            program = program.run_decompositions({})
        check_kept(program)
        convert_package(program, package, scratch, target, facts)
    except FullDiskError:
        raise
    except ToolError as error:
        return {_STAGE: error}
    cache.put(key, folder, [str(path.relative_to(folder)) for path in package.rglob("*") if path.is_file()])
    return {}
