"""From a rewritten model to all of its files, those that the cache has from there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch.fx import GraphModule

from mobilekit.convert.alignment import Alignment, align
from mobilekit.convert.byte_inputs import give_onnx_bytes
from mobilekit.convert.coreml.write import write_package
from mobilekit.convert.executorch.write import export_programs, lower_programs
from mobilekit.convert.installed import check_installed, writes_directly
from mobilekit.convert.keys import structure, tools
from mobilekit.convert.onnx import quantize_onnx, simplify, write_onnx
from mobilekit.convert.tflite import write_quantized, write_tflite
from mobilekit.errors import FullDiskError, ToolError
from mobilekit.models.weights import weights_digest
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.recipes.schema import Recipe
from mobilekit.store import bundle as bundles
from mobilekit.store import memory
from mobilekit.store.cache import Cache
from mobilekit.store.files import sha256_of, sha256_of_json, write_json
from mobilekit.store.stages import CALIBRATED, FORM_STAGES, Precision, Stage, tflite_stage

Progress = Callable[[str], None]
_RANGES = bundles.INT8_RANGES.format(Stage.TFLITE_INT8)


@dataclass(frozen=True)
class Converted:
    """What a conversion came to."""

    owners: Alignment | None = None
    """Which module each tensor of the float32 file comes from, where the conversion had to know."""
    failed: dict[Stage, ToolError] = field(default_factory=dict)
    """Why a file could not be made."""

    def check(self) -> None:
        """See that all files were made.

        Raises:
            ToolError: One was not.
        """
        for error in self.failed.values():
            raise error


def convert(
    folder: Path,
    scratch: Path,
    graph: GraphModule,
    recipe: Recipe,
    calibration: Calibration | None,
    cache: Cache,
    progress: Progress,
    meanwhile: AbstractContextManager[object] | None = None,
) -> Converted:
    """Write all files, those that the cache has from there. One that fails leaves the others, but for the ONNX file.

    Args:
        folder: Where to write; its `stages` must exist.
        scratch: A folder for the tools' own files.
        graph: The rewritten model, float32.
        recipe: Its precisions are made.
        calibration: For int8; not needed where that is not made.
        cache: Has what was made before.
        progress: Is told what goes on.
        meanwhile: Entered while the others are made, which another process does.

    Raises:
        ToolError: The ONNX file, of which all others are made, cannot be made, the disk is full, or a converter is not
            installed.
    """
    check_installed()
    _write_onnx(folder, scratch, graph, recipe, cache, progress)
    # While torch exports a model its weights are stand-ins, with which nothing else can run it.
    exported = export_programs(folder, graph, recipe, calibration, cache, progress)
    failed = write_package(folder, scratch, graph, recipe, cache, progress)
    with meanwhile or nullcontext():
        converted = _write_tflite(folder, scratch, graph, recipe, calibration, cache, progress)
        failed |= _write_quantized_onnx(folder, scratch, recipe, calibration, cache, progress)
        failed |= lower_programs(folder, scratch, exported, cache, progress)
    return replace(converted, failed={**converted.failed, **failed})


def _write_onnx(
    folder: Path, scratch: Path, graph: GraphModule, recipe: Recipe, cache: Cache, progress: Progress
) -> None:
    key = sha256_of_json(
        {
            "stage": "onnx",
            **structure(graph),
            "weights": weights_digest(graph),
            "shapes": list(recipe.file_shapes.items()),
            "bytes": recipe.bytes,
            "onnx": recipe.onnx.model_dump(mode="json"),
            **tools(),
        }
    )
    if not cache.take(key, folder):
        progress("converting to ONNX with torch.onnx")
        write_onnx(graph, recipe.file_shapes, folder / Stage.ONNX.file, recipe.onnx.opset)
        progress("simplifying the ONNX file with onnxsim")
        simplify(folder / Stage.ONNX.file, folder / Stage.ONNX_SIMPLIFIED.file, scratch)
        for stage in (Stage.ONNX, Stage.ONNX_SIMPLIFIED) if recipe.bytes else ():
            give_onnx_bytes(folder / stage.file, recipe.bytes)
        cache.put(key, folder, [Stage.ONNX.file, Stage.ONNX_SIMPLIFIED.file])


def _write_tflite(
    folder: Path,
    scratch: Path,
    graph: GraphModule,
    recipe: Recipe,
    calibration: Calibration | None,
    cache: Cache,
    progress: Progress,
) -> Converted:
    onnx, versions = sha256_of(folder / Stage.ONNX_SIMPLIFIED.file), tools()
    keys: dict[Precision, str] = {}
    for precision in recipe.tflite_precisions:
        shaped = _shapes_int8(graph, recipe, calibration) if precision in CALIBRATED else {}
        keys[precision] = sha256_of_json({"stage": precision, "onnx": onnx, **shaped, **versions})
    missing = [precision for precision in recipe.tflite_precisions if not cache.take(keys[precision], folder)]
    if not missing:
        return Converted()
    converters = "onnx2tf's direct writer" if writes_directly() else "onnx2tf and Keras"
    progress(f"converting to TFLite with {converters} ({', '.join(missing)})")
    memory.release()
    files = {precision: folder / tflite_stage(precision).file for precision in missing}
    write = partial(_write_files, folder, scratch, files, graph, recipe, calibration)
    converted = write()
    if writes_directly() and recipe.int8.float_modules and any(stage.is_calibrated for stage in converted.failed):
        again = write(by_keras=True)  # the quantizer may take Keras's graph with modules in float
        converted = converted if len(again.failed) > len(converted.failed) else again
    for name, path in files.items():
        if tflite_stage(name) not in converted.failed:
            parts = [bundles.LAYOUTS, *([_RANGES] if name == "int8" else [])]
            cache.put(keys[name], folder, [path.name, *parts])
    return converted


def _write_quantized_onnx(
    folder: Path, scratch: Path, recipe: Recipe, calibration: Calibration | None, cache: Cache, progress: Progress
) -> dict[Stage, ToolError]:
    """Quantize the ONNX file, where the recipe asks for that; return why a file could not be made."""
    onnx = folder / Stage.ONNX_SIMPLIFIED.file
    stages = [FORM_STAGES[form] for form in recipe.precision if FORM_STAGES[form].file_format == "onnx"]
    shaped = {"onnx": sha256_of(onnx), **_shapes_int8(None, recipe, calibration), **tools()} if stages else {}
    keys = {stage: sha256_of_json({"stage": stage, **shaped}) for stage in stages}
    missing = [stage for stage in stages if not cache.take(keys[stage], folder)]
    if not missing:
        return {}
    assert calibration is not None
    progress(f"quantizing the ONNX file with ONNX Runtime ({', '.join(missing)})")
    files = {stage.precision: folder / stage.file for stage in missing}
    made = quantize_onnx(onnx, files, calibration.arrays, scratch, recipe.int8)
    for stage in missing:
        if stage.precision in made.failed:
            continue
        names = [stage.file]
        if stage.precision == "int8":
            names.append(bundles.INT8_RANGES.format(stage))
            write_json(folder / names[-1], made.ranges)
        cache.put(keys[stage], folder, names)
    return {stage: made.failed[stage.precision] for stage in missing if stage.precision in made.failed}


def _shapes_int8(graph: GraphModule | None, recipe: Recipe, calibration: Calibration | None) -> dict[str, object]:
    """Return what shapes an int8 file beside the ONNX file: of the graph the modules, where some stay in float."""
    return {
        "calibration": calibration.digest if calibration else None,
        "int8": recipe.int8.model_dump(mode="json"),
        "graph": structure(graph) if graph and recipe.int8.float_modules else None,
    }


def _write_files(
    folder: Path,
    scratch: Path,
    files: dict[Precision, Path],
    graph: GraphModule,
    recipe: Recipe,
    calibration: Calibration | None,
    *,
    by_keras: bool = False,
) -> Converted:
    """Convert the ONNX file to TFLite. The float32 file tells which tensors belong to modules that stay in float."""
    mixed = [name for name in files if name in CALIBRATED and recipe.int8.float_modules]
    wanted = {name: path for name, path in files.items() if name not in mixed}
    float32 = folder / Stage.TFLITE_FLOAT32.file
    if mixed and (by_keras or not float32.exists()):
        float32 = wanted.setdefault("float32", scratch / float32.name)
    inputs = calibration.arrays if calibration else None
    failed: dict[Precision, ToolError] = {}
    if wanted:
        ranges, onnx = inputs if {*CALIBRATED} & {*wanted} else None, folder / Stage.ONNX_SIMPLIFIED.file
        made = write_tflite(onnx, wanted, ranges, scratch, recipe.int8, by_keras=by_keras)
        failed = made.failed
        if len(failed) < len(wanted):
            write_json(folder / bundles.LAYOUTS, made.layouts)
        if made.ranges:
            write_json(folder / _RANGES, made.ranges)
    owners = None
    for precision in mixed:
        if "float32" in failed:
            failed[precision] = failed["float32"]
            continue
        assert inputs is not None
        try:
            owners = owners or align(graph, float32, random_inputs(recipe, count=recipe.input.batch))
            tensors = owners.tensors_inside(recipe.int8.float_modules)
            told = write_quantized(float32, files[precision], inputs, scratch, recipe.int8, tensors, precision)
            if told:
                write_json(folder / _RANGES, told)
        except FullDiskError:
            raise
        except ToolError as error:
            failed[precision] = error
    is_kept = float32.parent == folder
    stages = {tflite_stage(name): error for name, error in failed.items() if name in files}
    return Converted(owners if is_kept else None, stages)
