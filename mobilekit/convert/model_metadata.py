"""What TFLite files say of themselves, of the recipe: how the app makes the input, and what the outputs are called.

MediaPipe Tasks opens no float32 file without it, and shows the labels that it finds there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from mobilekit.artifacts.inspect import extra_input_entries, input_entry
from mobilekit.artifacts.metadata import with_metadata
from mobilekit.artifacts.metadata_tables import (
    AssociatedFile,
    BoundingBoxProperties,
    BoundingBoxType,
    ColorSpace,
    Content,
    CoordinateType,
    FeatureProperties,
    FileType,
    ImageProperties,
    ImageSize,
    ModelMetadata,
    NormalizationOptions,
    ProcessUnit,
    SubGraphMetadata,
    TensorMetadata,
)
from mobilekit.artifacts.tflite import ends
from mobilekit.convert.byte_inputs import LARGEST
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT

LABELS = "labels.txt"
_PARSER = "1.0.0"
"""The first version of the schema has all that is said here."""
_DETECTIONS = ("location", "category", "score", "number of detections")
"""What MediaPipe's ObjectDetector calls a detector's outputs, in the order in which a recipe's model returns them."""
_SIDES = {"xyxy": (0, 1, 2, 3), "yxyx": (1, 0, 3, 2)}
"""Places of left, top, right and bottom, by how a recipe has them."""
_SPACES = {"rgb": ColorSpace.RGB, "gray": ColorSpace.GRAYSCALE}


def described(
    content: bytes, recipe: Recipe, layouts: Mapping[str, str] | None = None, order: Sequence[str] = ()
) -> bytes:
    """Return a TFLite file with what its recipe says: how its inputs are made, and what its outputs are.

    Args:
        content: A file of the recipe, with a signature.
        recipe: The recipe.
        layouts: NHWC or NCHW of its outputs of four axes, by name.
        order: Names of the outputs as the model returns them, which a file may have in another order.
    """
    inputs, outputs = ends(content)
    entries = {INPUT: input_entry(recipe.input), **extra_input_entries(recipe)}
    pictures = () if recipe.input.channels else (INPUT, *(n for n, each in recipe.extra_inputs.items() if each.like))
    of_inputs = tuple(
        _input(name, entries.get(name, {}), recipe.input if name in pictures else None) for name in inputs
    )
    layouts, labels = layouts or {}, len(recipe.labels)
    if sides := recipe.output.detections:
        roles = dict(zip(order, _DETECTIONS, strict=True))
        of_outputs = tuple(_detection(roles[name], name, _SIDES[sides], labels > 0) for name in outputs)
    else:
        of_outputs = tuple(_output(name, shape, layouts.get(name), labels) for name, shape in outputs.items())
    files = {LABELS: "".join(f"{' '.join(label.split())}\n" for label in recipe.labels).encode()}
    has_labels = any(tensor.associated_files for tensor in of_outputs)
    graph = SubGraphMetadata(input_tensor_metadata=of_inputs, output_tensor_metadata=of_outputs)
    model = ModelMetadata(subgraph_metadata=(graph,), min_parser_version=_PARSER)
    return with_metadata(content, model, files if has_labels else {})


def _input(name: str, entry: Mapping[str, object], picture: Input | None) -> TensorMetadata:
    """Return what is said of an input, whose description is the manifest's entry of it."""
    description = json.dumps(entry)
    if picture is None:
        return TensorMetadata(name, description, content=Content(FeatureProperties()))
    height, width = picture.shape[2:]
    space = _SPACES.get(picture.color, ColorSpace.UNKNOWN)
    content = Content(ImageProperties(space, ImageSize(width, height)))
    units = (ProcessUnit(_normalization(picture)),) if space else ()  # who knows no BGR would feed RGB
    return TensorMetadata(name, description, content=content, process_units=units)


def _normalization(picture: Input) -> NormalizationOptions:
    """Return the recipe's mean and std for values in 0..255; one of each where all channels have the same."""
    if picture.takes_levels:
        return NormalizationOptions((0.0,), (1.0,))
    mean, std = ([LARGEST * value for value in values] for values in (picture.mean, picture.std))
    if len({*zip(mean, std, strict=True)}) == 1:
        mean, std = mean[:1], std[:1]
    return NormalizationOptions(tuple(mean), tuple(std))


def _output(name: str, shape: tuple[int, ...], layout: str | None, labels: int) -> TensorMetadata:
    """Return what is said of an output; the labels are those of one that has a value, or a map, for each of them."""
    classes = {int(np.prod(shape[1:]))} | ({shape[3]} if layout == "NHWC" else set())
    files = (AssociatedFile(LABELS, type=FileType.TENSOR_AXIS_LABELS),) if labels and labels in classes else ()
    return TensorMetadata(name, content=Content(FeatureProperties()), associated_files=files)


def _detection(role: str, name: str, sides: tuple[int, ...], has_labels: bool) -> TensorMetadata:
    """Return what is said of an output of a detector; the labels are those of the numbers in its categories."""
    content = Content(FeatureProperties())
    if role == _DETECTIONS[0]:
        content = Content(BoundingBoxProperties(sides, BoundingBoxType.BOUNDARIES, CoordinateType.RATIO))
    is_labeled = has_labels and role == _DETECTIONS[1]
    files = (AssociatedFile(LABELS, type=FileType.TENSOR_VALUE_LABELS),) if is_labeled else ()
    return TensorMetadata(role, f"output {name}", content=content, associated_files=files)
