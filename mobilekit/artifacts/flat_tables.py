"""FlatBuffers' tables as dataclasses, written and read by their fields' order, which is all that a file knows of them.

A class has its schema's fields, in their order; fields that nobody set are not written. Of a union, members behind the
last one that a class lists are read as None; a union that nobody reads may be two numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from mobilekit.store.jsonable import Jsonable

# Numbers, by FlatBuffers' names of their formats.
Bool = Annotated[bool, "Bool"]
Byte = Annotated[int, "Int8"]
Ubyte = Annotated[int, "Uint8"]
Short = Annotated[int, "Int16"]
Int = Annotated[int, "Int32"]
Uint = Annotated[int, "Uint32"]
Ulong = Annotated[int, "Uint64"]
Float = Annotated[float, "Float32"]


class Table(Jsonable):
    """One of a schema's tables."""


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


@cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(each.name, hints[each.name]) for each in fields(kind))


def _field(name: str, hint: Any) -> _Field:
    is_list = get_origin(hint) is tuple
    hint = get_args(hint)[0] if is_list else hint
    number = hint.__metadata__[0] if get_origin(hint) is Annotated else None
    kinds = get_args(hint)[:-1] if isinstance(hint, UnionType) else (hint,)  # the last is None
    return _Field(name, kinds, number, is_list)


def to_flatbuffer(root: Table, identifier: bytes) -> bytes:
    """Return a table as a FlatBuffer with an identifier, the same bytes for the same table."""
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(_put(builder, root), identifier)
    return bytes(builder.Output())


def _put(builder: Any, table: Table) -> int:
    """Write a table behind all that it refers to, and return its offset."""
    from flatbuffers import number_types

    numbers: list[tuple[Any, int, Any]] = []
    offsets: list[tuple[int, int]] = []
    slot = 0
    for field in _fields(type(table)):  # type: ignore[arg-type] # mypy takes no class for hashable
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


_T = TypeVar("_T", bound=Table)


def from_flatbuffer(kind: type[_T], content: bytes) -> _T:
    """Read a FlatBuffer's root.

    Args:
        kind: What the root is.
        content: It; its identifier is for the caller to look at.

    Raises:
        ValueError: It is damaged, or none of these tables.
    """
    from flatbuffers import encode, packer
    from flatbuffers.table import Table as Place

    try:
        return _read(kind, Place(content, encode.Get(packer.uoffset, content, 0)))
    except Exception as error:  # a damaged one fails in whatever way its first wrong byte leads to
        raise ValueError("it is damaged") from error


def _read(kind: type[_T], table: Any) -> _T:
    """Read a table at its place (flatbuffers' `Table`)."""
    return kind(**dict(_values(kind, table)))


def _values(kind: type[Table], table: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each field that is written."""
    from flatbuffers import number_types
    from flatbuffers.table import Table as Place

    slot = 0
    for field in _fields(kind):  # type: ignore[arg-type] # as above
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
