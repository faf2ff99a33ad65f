"""TFLite Model Metadata in a file: put there, and read from there.

It is a FlatBuffer in one of the model's buffers, and a ZIP archive behind the model with the files that it names; tools
that know neither read the file as before. The archive is stored and not compressed, as MediaPipe asks for.

To put it in, nothing of the file is taken apart: FlatBuffers point forward alone, so that a new root with longer lists
of buffers and metadata stands before the old file, and points into it.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobilekit.artifacts.metadata_tables import (
    AssociatedFile,
    FileType,
    ModelMetadata,
    TensorMetadata,
    from_flatbuffer,
    to_flatbuffer,
)
from mobilekit.artifacts.tflite import schema
from mobilekit.artifacts.tflite_check import IDENTIFIER
from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable

NAME = "TFLITE_METADATA"
"""Under which a model's list of metadata has it."""
_VERSION, _BUFFERS, _METADATA = 0, 4, 6
"""Places of three fields in the schema's `Model`. The version is a number; all others are lists or texts."""
_ALIGNMENT = 16
"""Of buffers, in bytes; TFLite's schema asks for it."""
LABEL_FILES = (FileType.TENSOR_AXIS_LABELS, FileType.TENSOR_VALUE_LABELS)
"""Kinds of associated files that have a name in each line."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first date that a ZIP archive can hold."""


@dataclass(frozen=True)
class Metadata(Jsonable):
    """What a file says of itself."""

    model: ModelMetadata = field(default_factory=ModelMetadata)
    """In the words of TFLite's metadata schema."""
    files: tuple[str, ...] = ()
    """Names of the files behind the model."""
    labels: tuple[str, ...] = ()
    """Of the classes, a line each of the first file of labels that an output names."""
    fault: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Why it cannot be read."""


def metadata_in(content: bytes) -> Metadata | None:
    """Return the metadata of a TFLite file, whoever wrote it; None where there is none.

    Args:
        content: A whole TFLite file.
    """
    buffer = _buffer_of(schema().Model.GetRootAs(content))
    if buffer is None:
        return None
    try:
        model, files = from_flatbuffer(buffer), _files_behind(content)
    except ValueError as error:
        return Metadata(fault=str(error))
    names = [file.name for graph in model.subgraph_metadata for file in _label_files(graph.output_tensor_metadata)]
    labels = files.get(names[0], b"").decode(errors="replace").splitlines() if names else ()
    return Metadata(model, tuple(files), tuple(labels))


def with_metadata(content: bytes, model: ModelMetadata, files: Mapping[str, bytes]) -> bytes:
    """Return a TFLite file with metadata; one that has some is returned as it is.

    Args:
        content: The file.
        model: What to say.
        files: Content of each file behind the model, by name.
    """
    if _buffer_of(schema().Model.GetRootAs(content)) is not None:
        return content
    target = io.BytesIO(_with_root(content, to_flatbuffer(model)))
    if files:
        with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
            for name, held in files.items():
                archive.writestr(zipfile.ZipInfo(name, _EARLIEST), held)
    return target.getvalue()


def _buffer_of(model: Any) -> bytes | None:
    """Return the metadata's FlatBuffer of a model, the schema's `Model`; None where it has none."""
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == NAME.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    return None


def _files_behind(content: bytes) -> dict[str, bytes]:
    """Return the content of each file in the archive behind a model, by name; nothing where there is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):  # none, damaged, or locked
        return {}


def _label_files(tensors: Iterable[TensorMetadata]) -> list[AssociatedFile]:
    """Return the files that name the places along an axis of outputs, or what their values stand for."""
    return [file for tensor in tensors for file in tensor.associated_files if file.type in LABEL_FILES]


def _with_root(content: bytes, held: bytes) -> bytes:
    """Return a TFLite file with the metadata's FlatBuffer: a new root, lists and buffer before the file as it was."""
    from flatbuffers import Builder

    tail = content + bytes(-len(content) % _ALIGNMENT)  # what is aligned from the start then is so from the end
    model = schema().Model.GetRootAs(tail)
    buffers = [model.Buffers(number)._tab.Pos for number in range(model.BuffersLength())]
    entries = [model.Metadata(number)._tab.Pos for number in range(model.MetadataLength())]
    builder = Builder(len(tail) + len(held) + 4 * len(buffers) + 4096)
    builder.head -= len(tail)  # it fills its bytes from the end
    builder.Bytes[builder.head :] = tail

    def old(position: int) -> int:
        return len(tail) - position  # as a builder counts

    builder.StartVector(1, len(held), _ALIGNMENT)
    builder.head -= len(held)
    builder.Bytes[builder.head : builder.head + len(held)] = held
    data = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, data, 0)
    buffer = builder.EndObject()
    name = builder.CreateString(NAME)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, len(buffers), 0)
    entry = builder.EndObject()
    fields = {place: old(position) for place, position in _lists_of(model)}
    fields[_BUFFERS] = _vector(builder, [*map(old, buffers), buffer])
    fields[_METADATA] = _vector(builder, [*map(old, entries), entry])
    builder.StartObject(max(fields) + 1)
    builder.PrependUint32Slot(_VERSION, model.Version(), 0)
    for place, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(place, offset, 0)
    builder.Finish(builder.EndObject(), IDENTIFIER)
    return bytes(builder.Output())


def _lists_of(model: Any) -> Iterator[tuple[int, int]]:
    """Yield each field of a model that is written, but for its version: its place, and where its list begins."""
    from flatbuffers import number_types

    table = model._tab
    vtable = table.Pos - table.Get(number_types.SOffsetTFlags, table.Pos)
    places = table.Get(number_types.VOffsetTFlags, vtable) // 2 - 2  # behind its own size and the table's
    for place in range(_VERSION + 1, places):
        if field := table.Offset(4 + 2 * place):
            yield place, table.Indirect(table.Pos + field)


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    """Write a list of tables, and return its offset."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
