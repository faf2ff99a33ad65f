"""What all results are: frozen dataclasses, and JSON by the names that their fields have there."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter


def _read(value: Any) -> Any:
    return math.nan if value is None else value


def _write(value: float) -> float | None:
    return value if math.isfinite(value) else None


Figure = Annotated[float, BeforeValidator(_read), PlainSerializer(_write, return_type=float | None)]
"""A number that may be infinite or none at all. JSON has neither: it is null there, and NaN where it is read again."""


class Result:
    """Base of frozen dataclasses that stay results up to what shows them.

    A field that this version does not know is passed over where a result is read, and a field that a version adds has a
    default: so results of other versions are read.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="ignore", validate_by_name=True, validate_by_alias=True, use_attribute_docstrings=True
    )

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        content: dict[str, Any] = adapter(type(self)).dump_python(self, mode="json", by_alias=True)
        return content

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read a result from JSON data.

        Raises:
            pydantic.ValidationError: It is something else.
        """
        result: Self = adapter(cls).validate_python(content)
        return result


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def adapter(kind: type) -> TypeAdapter[Any]:
    """Return what reads and writes a type, and knows its JSON Schema; it is made once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
