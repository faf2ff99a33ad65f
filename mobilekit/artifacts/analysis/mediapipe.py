"""What MediaPipe Tasks asks of a TFLite file: the conditions that version 1.2.3 names where it refuses one."""

from __future__ import annotations

from mobilekit.artifacts.inspect import Inspection
from mobilekit.artifacts.metadata_tables import ColorSpace, ImageProperties, NormalizationOptions, TensorMetadata

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
