"""What MediaPipe Tasks asks of a TFLite file: the conditions that version 1.2.3 names where it refuses one."""

from __future__ import annotations

from mobilekit.artifacts.inspect import Inspection
from mobilekit.artifacts.metadata_tables import (
    BoundingBoxProperties,
    ColorSpace,
    ImageProperties,
    NormalizationOptions,
    TensorMetadata,
)

_ENDS = "and with `int8: {io: float32}`, or uint8, in the recipe"
_INPUTS, _OUTPUTS = ("uint8", "float32"), ("uint8", "float32", "bool")


def why_refused(found: Inspection) -> str | None:
    """Return why MediaPipe's tasks for images refuse a file, and what to do; None where nothing speaks against it.

    Args:
        found: What is in the file.
    """
    graphs = found.metadata.model.subgraph_metadata if found.metadata else ()
    if len(found.inputs) != 1:
        return "it gives one picture, and nothing else"
    (taken,) = found.inputs
    if len(taken.shape) != 4 or taken.shape[0] != 1 or taken.shape[3] not in (3, 4):
        return "it gives one picture of three channels"
    if taken.dtype not in _INPUTS:
        return f"it gives {' or '.join(_INPUTS)}, and no {taken.dtype}: export with --input-dtype uint8 {_ENDS}"
    described = next((tensor for graph in graphs for tensor in graph.input_tensor_metadata), TensorMetadata())
    if taken.dtype == "float32" and (reason := _why_no_float(described)):
        return reason
    dtypes = [made.dtype for made in found.outputs if made.dtype not in _OUTPUTS]
    if dtypes:
        return f"it reads {', '.join(_OUTPUTS)}, and no {dtypes[0]}: export {_ENDS[4:]}"
    return None


def tasks_for(found: Inspection) -> tuple[str, ...]:
    """Return MediaPipe's tasks that read outputs such as a file's, of one that MediaPipe does not refuse.

    ImageClassifier asks for a row of scores, ImageSegmenter for one output of maps, ImageEmbedder takes any numbers,
    and ObjectDetector four outputs whose metadata has boxes. Of two outputs it takes boxes relative to SSD's anchors,
    which stand in metadata of its own; exports have none.
    """
    graphs = found.metadata.model.subgraph_metadata if found.metadata else ()
    said = [tensor.content for graph in graphs for tensor in graph.output_tensor_metadata if tensor.content]
    if any(isinstance(content.content_properties, BoundingBoxProperties) for content in said):
        return ("ObjectDetector",) if len(found.outputs) == 4 else ()
    shapes = [made.shape for made in found.outputs]
    if all(size == 1 for shape in shapes for size in shape[1:-1]):
        return ("ImageClassifier", "ImageEmbedder")
    is_map = len(shapes) == 1 and len(shapes[0]) == 4
    return ("ImageSegmenter", "ImageEmbedder") if is_map else ("ImageEmbedder",)


def why_no_detector(found: Inspection) -> str | None:
    """Return why ObjectDetector does not open a file that gives boxes; None where it does, or there are no boxes."""
    has_boxes = any(len(made.shape) == 3 and made.shape[2] == 4 for made in found.outputs)
    if not has_boxes or tasks_for(found) == ("ObjectDetector",):
        return None
    return (
        "it takes boxes, classes, scores and their number, as `output: {detections: xyxy}` of a recipe says, or boxes "
        "relative to SSD's anchors, which exports do not describe"
    )


def _why_no_float(described: TensorMetadata) -> str | None:
    """Return why it does not fill a float32 input of which the metadata says this."""
    content = described.content.content_properties if described.content else None
    if isinstance(content, ImageProperties) and content.color_space != ColorSpace.RGB:
        return "it gives pictures in RGB alone"
    options = [unit.options for unit in described.process_units if isinstance(unit.options, NormalizationOptions)]
    if not options:
        return "it fills a float32 input where the metadata has a normalization, and this has none"
    if any(len({*values}) > 1 for values in (options[0].mean, options[0].std)):
        return "it has one mean and std for all channels: export with --input-dtype uint8, and the file normalizes"
    return None
