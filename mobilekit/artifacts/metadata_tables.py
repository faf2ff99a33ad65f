"""The tables of TFLite Model Metadata as dataclasses, written to a FlatBuffer and read from one.

Source: `metadata_schema.fbs` 1.5.0 of google-ai-edge/mediapipe. A file knows the fields of a table by their order
alone, so that each class has the schema's fields, in its order; fields that nobody set are not written. Members of a
union that are for texts (tokenizers) are left out, and are read as None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from mobilekit.store.jsonable import Jsonable

IDENTIFIER = b"M001"

# Numbers, by FlatBuffers' names of their formats.
Byte = Annotated[int, "Int8"]
Int = Annotated[int, "Int32"]
Uint = Annotated[int, "Uint32"]
Float = Annotated[float, "Float32"]


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


class Table(Jsonable):
    """One of the schema's tables."""


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


@dataclass(frozen=True)
class _Field:
    """A field of a table as its class declares it."""

    name: str
    kinds: tuple[type, ...]
    """Of its values; several are the members of a union."""
    number: str | None
    """FlatBuffers' name of the format of numbers."""
    is_list: bool

    @property
    def is_union(self) -> bool:
        """Whether it takes two places: which member it is, and the member."""
        return len(self.kinds) > 1


def _fields(kind: type[Table]) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(each.name, hints[each.name]) for each in fields(kind))  # type: ignore[arg-type]


def _field(name: str, hint: Any) -> _Field:
    is_list = get_origin(hint) is tuple
    hint = get_args(hint)[0] if is_list else hint
    number = hint.__metadata__[0] if get_origin(hint) is Annotated else None
    kinds = get_args(hint)[:-1] if isinstance(hint, UnionType) else (hint,)  # the last is None
    return _Field(name, kinds, number, is_list)


def to_flatbuffer(root: Table) -> bytes:
    """Return a table as a FlatBuffer, the same bytes for the same table."""
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(_put(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def _put(builder: Any, table: Table) -> int:
    """Write a table behind all that it refers to, and return its offset."""
    from flatbuffers import number_types

    numbers: list[tuple[Any, int, Any]] = []
    offsets: list[tuple[int, int]] = []
    slot = 0
    for field in _fields(type(table)):
        value = getattr(table, field.name)
        if field.is_union and value is not None:
            numbers.append((number_types.Uint8Flags, slot, field.kinds.index(type(value)) + 1))
        if field.number and not field.is_list:
            numbers.append((getattr(number_types, f"{field.number}Flags"), slot, value))
        elif value not in (None, "", ()):
            offsets.append((slot + field.is_union, _put_value(builder, value, field.number)))
        slot += 1 + field.is_union
    builder.StartObject(slot)
    for flags, place, value in numbers:
        builder.PrependSlot(flags, place, value, 0)
    for place, offset in offsets:
        builder.PrependUOffsetTRelativeSlot(place, offset, 0)
    return int(builder.EndObject())


def _put_value(builder: Any, value: Any, number: str | None) -> int:
    """Write a text, a table or a list, and return its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Table):
        return _put(builder, value)
    if number:
        return int(builder.CreateNumpyVector(np.array(value, number.lower())))
    offsets = [_put_value(builder, each, None) for each in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def from_flatbuffer(content: bytes) -> ModelMetadata:
    """Read a FlatBuffer's root.

    Raises:
        ValueError: It is none of these tables, or damaged.
    """
    from flatbuffers import encode, packer
    from flatbuffers.table import Table as Place

    if content[4:8] != IDENTIFIER:
        raise ValueError("it has another identifier than M001")
    try:
        return _read(ModelMetadata, Place(content, encode.Get(packer.uoffset, content, 0)))
    except Exception as error:  # a damaged one fails in whatever way its first wrong byte leads to
        raise ValueError("it is damaged") from error


_T = TypeVar("_T", bound=Table)


def _read(kind: type[_T], table: Any) -> _T:
    """Read a table at its place (flatbuffers' `Table`)."""
    return kind(**dict(_values(kind, table)))


def _values(kind: type[Table], table: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each field that is written."""
    from flatbuffers import number_types
    from flatbuffers.table import Table as Place

    slot = 0
    for field in _fields(kind):
        which = table.Offset(4 + 2 * slot)  # of a union: which member
        place = table.Offset(4 + 2 * (slot + field.is_union))
        slot += 1 + field.is_union
        member = (table.Get(number_types.Uint8Flags, table.Pos + which) if which else 0) - 1 if field.is_union else 0
        if not place or not 0 <= member < len(field.kinds):
            continue
        flags = getattr(number_types, f"{field.number}Flags") if field.number else None

        def one(at: int, kind: type = field.kinds[member], flags: Any = flags) -> Any:
            if flags:
                return table.Get(flags, at)
            return table.String(at).decode() if kind is str else _read(kind, Place(table.Bytes, table.Indirect(at)))

        if field.is_list:
            width, start = flags.bytewidth if flags else 4, table.Vector(place)
            yield field.name, tuple(one(start + width * number) for number in range(table.VectorLen(place)))
        else:
            yield field.name, one(table.Pos + place)
