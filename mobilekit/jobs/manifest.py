"""What an export's manifest says of its bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobilekit.artifacts.inspect import Inspection, artifact_entries, extra_input_entries, input_entry
from mobilekit.convert.installed import tools_of
from mobilekit.jobs.build import Built
from mobilekit.models.weights import weights_digest
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import INPUT
from mobilekit.store.manifest import CalibrationSource, FailedStage, Given
from mobilekit.store.stages import Stage


def manifest_content(
    folder: Path,
    built: Built,
    digest: str,
    artifacts: Mapping[str, Inspection],
    failed: Sequence[FailedStage],
    given: Sequence[Given],
) -> dict[str, Any]:
    """Return the manifest, but for the digests of the files.

    Args:
        folder: Has the layouts of the outputs.
        built: The model.
        digest: Of the request.
        artifacts: What `inspect_files` found.
        failed: What could not be made.
        given: What the export was given or assumed.
    """
    source, recipe, reference = built.source, built.source.recipe.recipe, built.reference
    return {
        "format": 1,
        "request": digest,
        "model": {
            "name": built.entry.name,
            "options": built.options,
            "weights": {
                "source": reference.weights_source,
                "trained": reference.is_trained,
                "sha256": weights_digest(reference.model),
            },
        },
        "recipe": {"name": source.recipe.name, "content": recipe.model_dump(mode="json")},
        "precision": list(recipe.precision),
        "calibration": calibrated_on(folder, built).to_json(),
        "tools": tools_of(recipe),
        "input": input_entry(recipe.input),
        **({"extra_inputs": extra_input_entries(recipe)} if recipe.extra_inputs else {}),
        "artifacts": artifact_entries(artifacts, bundles.output_layouts(folder)),
        **({"failed_stages": [each.to_json() for each in failed]} if failed else {}),
        "given": [each.to_json() for each in given],
    }


def calibrated_on(folder: Path, built: Built) -> CalibrationSource:
    """Return what a model is calibrated on, whether the user gave it, and how the int8 file's ranges came about.

    Args:
        folder: Of the bundle.
        built: The model.
    """
    source, calibration = built.source, built.calibration
    path = source.calibration
    name = path.name if path else f"built-in {source.recipe.recipe.data}"
    ranges = bundles.int8_ranges(folder)
    return CalibrationSource(
        name,
        len(calibration.arrays[INPUT]),
        calibration.digest,
        path is not None,
        ranges.pop(str(Stage.TFLITE_INT8), None),
        ranges,
    )
