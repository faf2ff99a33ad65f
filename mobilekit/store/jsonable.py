"""Results as JSON data without pydantic, whose import costs a short command a tenth of its time.

`mobilekit.store.result` is for results that are read again; these are only written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

ABSENT_IF_NONE = {"absent": "if None"}
"""Metadata of a field whose key is left out where the value is None, as in `field(default=None, metadata=...)`."""


class Jsonable:
    """Base of frozen dataclasses whose fields are the keys of their JSON; pydantic makes the JSON Schema of them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"use_attribute_docstrings": True}

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        content: dict[str, Any] = to_json(self)
        return content


def to_json(value: Any) -> Any:
    """Return a result as what `json` writes and reads back the same.

    Args:
        value: A dataclass, or dicts, lists and tuples of them; anything else stays as it is.
    """
    if is_dataclass(value) and not isinstance(value, type):
        pairs = [(each, getattr(value, each.name)) for each in fields(value)]
        return {each.name: to_json(one) for each, one in pairs if not (one is None and each.metadata == ABSENT_IF_NONE)}
    if isinstance(value, Mapping):
        return {key: to_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    return str(value) if isinstance(value, Path) else value
