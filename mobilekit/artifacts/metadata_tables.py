"""The tables of TFLite Model Metadata as dataclasses, written to a FlatBuffer and read from one.

Source: `metadata_schema.fbs` 1.5.0 of google-ai-edge/mediapipe. A file knows the fields of a table by their order
alone, so that each class has the schema's fields, in its order. Members of a union that are for texts (tokenizers) are
left out, and are read as None.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from mobilekit.artifacts import flat_tables
from mobilekit.artifacts.flat_tables import Byte, Float, Int, Table, Uint

IDENTIFIER = b"M001"


class FileType(IntEnum):
    """What an associated file is."""

    UNKNOWN, DESCRIPTIONS, TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS, TENSOR_AXIS_SCORE_CALIBRATION = range(5)


class ColorSpace(IntEnum):
    """The colors that an image has."""

    UNKNOWN, RGB, GRAYSCALE = range(3)


class BoundingBoxType(IntEnum):
    """What the four values of a box are: its sides, or a corner or the center and a size."""

    UNKNOWN, BOUNDARIES, UPPER_LEFT, CENTER = range(4)


class CoordinateType(IntEnum):
    """What a box is counted in: shares of width and height, or pixels."""

    RATIO, PIXEL = range(2)


@dataclass(frozen=True)
class AssociatedFile(Table):
    """A file of the ZIP archive behind the model."""

    name: str = ""
    description: str = ""
    type: Byte = FileType.UNKNOWN
    locale: str = ""
    version: str = ""


@dataclass(frozen=True)
class FeatureProperties(Table):
    """A tensor that is no image."""


@dataclass(frozen=True)
class ImageSize(Table):
    """In pixels."""

    width: Uint = 0
    height: Uint = 0


@dataclass(frozen=True)
class ImageProperties(Table):
    """A tensor that is an image."""

    color_space: Byte = ColorSpace.UNKNOWN
    default_size: ImageSize | None = None


@dataclass(frozen=True)
class BoundingBoxProperties(Table):
    """A tensor that is boxes."""

    index: tuple[Uint, ...] = ()
    """Places of left, top, right and bottom."""
    type: Byte = BoundingBoxType.UNKNOWN
    coordinate_type: Byte = CoordinateType.RATIO


@dataclass(frozen=True)
class AudioProperties(Table):
    """A tensor that is sound."""

    sample_rate: Uint = 0
    channels: Uint = 0


@dataclass(frozen=True)
class ValueRange(Table):
    """Places of the values along an axis."""

    min: Int = 0
    max: Int = 0


@dataclass(frozen=True)
class Content(Table):
    """What a tensor is."""

    content_properties: FeatureProperties | ImageProperties | BoundingBoxProperties | AudioProperties | None = None
    range: ValueRange | None = None


@dataclass(frozen=True)
class NormalizationOptions(Table):
    """(value - mean) / std of values in 0..255, one of each for all channels or one a channel."""

    mean: tuple[Float, ...] = ()
    std: tuple[Float, ...] = ()


@dataclass(frozen=True)
class ScoreCalibrationOptions(Table):
    """How outputs become scores."""

    score_transformation: Byte = 0
    default_score: Float = 0.0


@dataclass(frozen=True)
class ScoreThresholdingOptions(Table):
    """The score below which nothing is told."""

    global_score_threshold: Float = 0.0


@dataclass(frozen=True)
class ProcessUnit(Table):
    """A step before or behind the model."""

    options: NormalizationOptions | ScoreCalibrationOptions | ScoreThresholdingOptions | None = None


@dataclass(frozen=True)
class Stats(Table):
    """Largest and smallest values, for all channels or a channel each."""

    max: tuple[Float, ...] = ()
    min: tuple[Float, ...] = ()


@dataclass(frozen=True)
class TensorGroup(Table):
    """Tensors that belong together."""

    name: str = ""
    tensor_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorMetadata(Table):
    """An input or output."""

    name: str = ""
    description: str = ""
    dimension_names: tuple[str, ...] = ()
    content: Content | None = None
    process_units: tuple[ProcessUnit, ...] = ()
    stats: Stats | None = None
    associated_files: tuple[AssociatedFile, ...] = ()


@dataclass(frozen=True)
class SubGraphMetadata(Table):
    """A graph of the file."""

    name: str = ""
    description: str = ""
    input_tensor_metadata: tuple[TensorMetadata, ...] = ()
    """In the order of the graph's inputs."""
    output_tensor_metadata: tuple[TensorMetadata, ...] = ()
    associated_files: tuple[AssociatedFile, ...] = ()
    input_process_units: tuple[ProcessUnit, ...] = ()
    output_process_units: tuple[ProcessUnit, ...] = ()
    input_tensor_groups: tuple[TensorGroup, ...] = ()
    output_tensor_groups: tuple[TensorGroup, ...] = ()


@dataclass(frozen=True)
class ModelMetadata(Table):
    """The root."""

    name: str = ""
    description: str = ""
    version: str = ""
    subgraph_metadata: tuple[SubGraphMetadata, ...] = ()
    author: str = ""
    license: str = ""
    associated_files: tuple[AssociatedFile, ...] = ()
    min_parser_version: str = ""


def to_flatbuffer(root: ModelMetadata) -> bytes:
    """Return metadata as a FlatBuffer, the same bytes for the same metadata."""
    return flat_tables.to_flatbuffer(root, IDENTIFIER)


def from_flatbuffer(content: bytes) -> ModelMetadata:
    """Read a FlatBuffer's root.

    Raises:
        ValueError: It is none of these tables, or damaged.
    """
    if content[4:8] != IDENTIFIER:
        raise ValueError("it has another identifier than M001")
    return flat_tables.from_flatbuffer(ModelMetadata, content)
